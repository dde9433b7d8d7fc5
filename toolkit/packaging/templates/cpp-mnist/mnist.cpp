#include "mnist.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

namespace {

constexpr int field = 28;
constexpr int box = 20;
constexpr int faintest = 8;

// The brightness of the paper: the median of the picture's border.
int paper_of(const Picture& gray) {
    std::vector<std::uint8_t> border;
    for (int y = 0; y < gray.height; y++) {
        for (int x = 0; x < gray.width; x++) {
            const bool inside = x > 0 && y > 0 && x < gray.width - 1 && y < gray.height - 1;
            if (!inside) border.push_back(gray.at(x, y, 0));
        }
    }
    const auto middle = border.begin() + static_cast<std::ptrdiff_t>(border.size() / 2);
    std::nth_element(border.begin(), middle, border.end());
    return *middle;
}

// The threshold that best splits the values in two (N. Otsu, 1979).
int otsu(const std::vector<std::uint8_t>& values) {
    std::array<double, 256> counts{};
    for (const std::uint8_t value : values) counts[value]++;
    double moment = 0, below = 0, below_moment = 0, best = -1;
    for (std::size_t value = 0; value < 256; value++) {
        moment += static_cast<double>(value) * counts[value];
    }
    int threshold = 0;
    for (std::size_t value = 0; value < 255; value++) {
        below += counts[value];
        below_moment += static_cast<double>(value) * counts[value];
        const double above = static_cast<double>(values.size()) - below;
        if (below == 0 || above == 0) continue;
        const double gap = below_moment / below - (moment - below_moment) / above;
        if (below * above * gap * gap > best) {
            best = below * above * gap * gap;
            threshold = static_cast<int>(value);
        }
    }
    return threshold;
}

// How far each pixel is from the paper; shadows and the paper's grain become 0.
Picture ink_of(const Picture& gray) {
    Picture ink = gray;
    const int paper = paper_of(gray);
    for (std::uint8_t& value : ink.pixels) {
        value = static_cast<std::uint8_t>(std::abs(value - paper));
    }
    const double threshold = 0.6 * otsu(ink.pixels);
    for (std::uint8_t& value : ink.pixels) {
        if (value <= threshold) value = 0;
    }
    return ink;
}

// The box that holds all ink darker than `faint`.
Picture cropped(const Picture& ink, double faint) {
    int left = ink.width, top = ink.height, right = 0, bottom = 0;
    for (int y = 0; y < ink.height; y++) {
        for (int x = 0; x < ink.width; x++) {
            if (ink.at(x, y, 0) <= faint) continue;
            left = std::min(left, x);
            right = std::max(right, x + 1);
            top = std::min(top, y);
            bottom = std::max(bottom, y + 1);
        }
    }
    Picture result{right - left, bottom - top, 1, {}};
    for (int y = top; y < bottom; y++) {
        const std::uint8_t* row = &ink.at(left, y, 0);
        result.pixels.insert(result.pixels.end(), row, row + result.width);
    }
    return result;
}

Picture centred(const Picture& digit) {
    double mass = 0, mass_x = 0, mass_y = 0;
    for (int y = 0; y < digit.height; y++) {
        for (int x = 0; x < digit.width; x++) {
            const double value = digit.at(x, y, 0);
            mass += value;
            mass_x += value * (x + 0.5);
            mass_y += value * (y + 0.5);
        }
    }
    const auto start = [mass](double moment, int size) {
        const int wanted = static_cast<int>(std::lround(field / 2.0 - moment / mass));
        return std::clamp(wanted, 0, field - size);
    };
    const int left = start(mass_x, digit.width);
    const int top = start(mass_y, digit.height);
    const double brightest = *std::max_element(digit.pixels.begin(), digit.pixels.end());
    Picture result{field, field, 1, std::vector<std::uint8_t>(field * field)};
    for (int y = 0; y < digit.height; y++) {
        for (int x = 0; x < digit.width; x++) {
            const auto place = static_cast<std::size_t>((top + y) * field + left + x);
            const double value = std::round(255 * digit.at(x, y, 0) / brightest);
            result.pixels[place] = static_cast<std::uint8_t>(value);
        }
    }
    return result;
}

}  // namespace

Picture mnist_digit(const Picture& gray) {
    const Picture ink = ink_of(gray);
    const int darkest = *std::max_element(ink.pixels.begin(), ink.pixels.end());
    if (darkest < faintest) throw std::runtime_error("the picture shows no stroke");
    const Picture digit = cropped(ink, 0.2 * darkest);
    const double scale = static_cast<double>(box) / std::max(digit.width, digit.height);
    const auto side = [scale](int size) {
        return std::max(1, static_cast<int>(std::lround(size * scale)));
    };
    return centred(resized(digit, side(digit.width), side(digit.height)));
}
