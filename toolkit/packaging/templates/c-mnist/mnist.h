/*
 * Makes a digit of MNIST out of a grey picture of one: light strokes on black, the digit scaled
 * with its aspect into 20 x 20 pixels and placed with its centre of mass in the middle of 28 x 28.
 */
#ifndef MNIST_H
#define MNIST_H

#include <stdint.h>

/* Returns 0, or -1 when the picture shows no stroke or memory is short. `digit` has 28 x 28. */
int mnist_digit(const uint8_t *gray, int width, int height, uint8_t *digit);

#endif
