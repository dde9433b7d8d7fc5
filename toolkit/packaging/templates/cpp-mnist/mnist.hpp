// Makes a digit of MNIST out of a grey picture of one: light strokes on black, the digit scaled
// with its aspect into 20 x 20 pixels and placed with its centre of mass in the middle of 28 x 28.
#pragma once

#include "picture.hpp"

/// @param gray A picture of one channel, of any size, dark on light or light on dark.
/// @throws std::runtime_error The picture shows no stroke.
Picture mnist_digit(const Picture& gray);
