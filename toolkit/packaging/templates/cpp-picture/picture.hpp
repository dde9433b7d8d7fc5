// Pictures: reads PGM and PPM files, and makes the model's input of any picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "contract.hpp"

/// Pixels row by row, 1 (grey) or 3 (red, green, blue) values each.
struct Picture {
    int width;
    int height;
    int channels;
    std::vector<std::uint8_t> pixels;

    const std::uint8_t& at(int x, int y, int channel) const {
        return pixels[(static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                       static_cast<std::size_t>(x)) *
                          static_cast<std::size_t>(channels) +
                      static_cast<std::size_t>(channel)];
    }
};

/// Read a binary PGM or PPM file.
/// @throws std::runtime_error
Picture read_picture(const std::string& file);

/// Make the model's input of a picture of any size and color.
/// @throws std::runtime_error The picture shows nothing.
std::vector<contract::PictureValue> to_input(const Picture& picture);

/// Resize a picture; every new pixel is the mean of the area that it covers.
Picture resized(const Picture& picture, int width, int height);
