/* Pictures: reads PGM and PPM files, and makes the model's input of any picture. */
#ifndef PICTURE_H
#define PICTURE_H

#include "contract.h"

/* Pixels row by row, 1 (grey) or 3 (red, green, blue) values each. */
struct picture {
    int width, height, channels;
    uint8_t *pixels;
};

/* Read a binary PGM or PPM file. Returns 0, or -1 with a line in `reason`. Free the pixels. */
int picture_read(const char *file, struct picture *picture, const char **reason);

/*
 * Make the model's input of a picture of any size: the channels that the model takes, its size
 * (every new pixel is the mean of the area that it covers), its layout and its scale.
 * Returns 0, or -1 when memory is short or the picture shows nothing.
 */
int picture_to_input(const struct picture *picture, picture_value *input);

/* The same for pixels that have the model's size and channels already. */
void pixels_to_input(const uint8_t *pixels, picture_value *input);

/* Resize one channel, `step` values from pixel to pixel. */
void resize(const uint8_t *from, int width, int height, int step, uint8_t *to, int new_width,
            int new_height, int new_step);

#endif
