#include "mnist.h"

#include "picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD = 28, BOX = 20, FAINTEST = 8 };

/* The brightness of the paper: the median of the picture's border. */
static int paper_of(const uint8_t *gray, int width, int height) {
    int counts[256] = {0}, seen = 0, total = 0;
    for (int y = 0; y < height; y++) {
        int step = y == 0 || y == height - 1 || width == 1 ? 1 : width - 1;
        for (int x = 0; x < width; x += step, total++) counts[gray[(size_t)y * width + x]]++;
    }
    for (int value = 0; value < 256; value++) {
        seen += counts[value];
        if (2 * seen > total) return value;
    }
    return 255;
}

/* The threshold that best splits the values in two (N. Otsu, 1979). */
static int otsu(const uint8_t *values, size_t size) {
    double counts[256] = {0}, moment = 0, below = 0, below_moment = 0, best = -1;
    int threshold = 0;
    for (size_t i = 0; i < size; i++) counts[values[i]]++;
    for (int value = 0; value < 256; value++) moment += value * counts[value];
    for (int value = 0; value < 255; value++) {
        below += counts[value];
        below_moment += value * counts[value];
        double above = (double)size - below;
        if (below == 0 || above == 0) continue;
        double gap = below_moment / below - (moment - below_moment) / above;
        if (below * above * gap * gap > best) {
            best = below * above * gap * gap;
            threshold = value;
        }
    }
    return threshold;
}

/* How far each pixel is from the paper; shadows and the paper's grain become 0. */
static int ink_of(const uint8_t *gray, int width, int height, uint8_t *ink) {
    size_t size = (size_t)width * (size_t)height;
    int paper = paper_of(gray, width, height), darkest = 0;
    for (size_t i = 0; i < size; i++) ink[i] = (uint8_t)abs(gray[i] - paper);
    double threshold = 0.6 * otsu(ink, size);
    for (size_t i = 0; i < size; i++) {
        if (ink[i] <= threshold) ink[i] = 0;
        if (ink[i] > darkest) darkest = ink[i];
    }
    return darkest;
}

/* Copy the box that holds all ink darker than `faint`. Returns its pixels; free them. */
static uint8_t *cropped(const uint8_t *ink, int width, int height, double faint, int *box_width,
                        int *box_height) {
    int left = width, top = height, right = 0, bottom = 0;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            if (ink[(size_t)y * width + x] <= faint) continue;
            if (x < left) left = x;
            if (x >= right) right = x + 1;
            if (y < top) top = y;
            if (y >= bottom) bottom = y + 1;
        }
    }
    *box_width = right - left;
    *box_height = bottom - top;
    uint8_t *box = malloc((size_t)*box_width * (size_t)*box_height);
    for (int y = 0; box != NULL && y < *box_height; y++) {
        memcpy(box + (size_t)y * *box_width, ink + (size_t)(top + y) * width + left,
               (size_t)*box_width);
    }
    return box;
}

/* Where a digit of this size starts, so that its centre of mass is in the middle of the field. */
static int start_of(double middle, int size) {
    long start = lround(FIELD / 2.0 - middle);
    if (start > FIELD - size) start = FIELD - size;
    return start < 0 ? 0 : (int)start;
}

static void centre(const uint8_t *small, int width, int height, uint8_t *digit) {
    double mass = 0, mass_x = 0, mass_y = 0;
    int brightest = 1;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            int value = small[y * width + x];
            mass += value;
            mass_x += value * (x + 0.5);
            mass_y += value * (y + 0.5);
            if (value > brightest) brightest = value;
        }
    }
    int left = start_of(mass_x / mass, width), top = start_of(mass_y / mass, height);
    memset(digit, 0, FIELD * FIELD);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            digit[(top + y) * FIELD + left + x] =
                (uint8_t)lround(255.0 * small[y * width + x] / brightest);
        }
    }
}

int mnist_digit(const uint8_t *gray, int width, int height, uint8_t *digit) {
    uint8_t *ink = malloc((size_t)width * (size_t)height);
    if (ink == NULL) return -1;
    int result = -1, box_width, box_height;
    int darkest = ink_of(gray, width, height, ink);
    if (darkest >= FAINTEST) {
        uint8_t *box = cropped(ink, width, height, 0.2 * darkest, &box_width, &box_height);
        if (box != NULL) {
            double scale = (double)BOX / (box_width > box_height ? box_width : box_height);
            int small_width = (int)fmax(1, round(box_width * scale));
            int small_height = (int)fmax(1, round(box_height * scale));
            uint8_t small[BOX * BOX];
            resize(box, box_width, box_height, 1, small, small_width, small_height, 1);
            centre(small, small_width, small_height, digit);
            free(box);
            result = 0;
        }
    }
    free(ink);
    return result;
}
