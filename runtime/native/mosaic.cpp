// The hot loops of mosaicking, in integers: any order of tiles and any machine give the same bytes.
// calanddet/runtime/mosaic/twin.py says the same in NumPy, and the tests compare the two bit by bit.

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace nb = nanobind;

namespace {

using Sums = nb::ndarray<std::uint32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Tile = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Weights = nb::ndarray<const std::uint16_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Valid = nb::ndarray<const bool, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Band = nb::ndarray<std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
#define CALANDDET_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define CALANDDET_WIDE
#endif

// sums[c] += tile[c] * row_weight * col_weights[c]; a byte times a weight of at most 256 fits 16 bits,
// so the second product is 16 x 16 -> 32 bits, which every vector unit has.
CALANDDET_WIDE void accumulate_row(std::uint32_t* __restrict sums, const std::uint8_t* __restrict tile,
                                   const std::uint16_t* __restrict col_weights, std::uint16_t row_weight,
                                   std::size_t count) {
    for (std::size_t c = 0; c < count; ++c) {
        const std::uint16_t weighted = static_cast<std::uint16_t>(tile[c] * row_weight);
        sums[c] += static_cast<std::uint32_t>(weighted) * col_weights[c];
    }
}

CALANDDET_WIDE void finalise_row(std::uint8_t* __restrict band, const std::uint32_t* __restrict sums,
                                 const bool* __restrict valid, std::size_t count) {
    for (std::size_t c = 0; c < count; ++c) {
        const std::uint8_t value = static_cast<std::uint8_t>((sums[c] + 32768u) >> 16);
        band[c] = valid[c] ? value : static_cast<std::uint8_t>(255);
    }
}

void accumulate(Sums sums, Tile tile, Weights row_weights, Weights col_weights, std::size_t col) {
    const std::size_t height = tile.shape(0), width = tile.shape(1);
    if (row_weights.shape(0) != height || col_weights.shape(0) != width) {
        throw std::invalid_argument("the weights do not have the tile's size");
    }
    if (col >= sums.shape(1)) {
        throw std::invalid_argument("the tile starts right of the mosaic");
    }
    const std::size_t rows = height < sums.shape(0) ? height : sums.shape(0);
    const std::size_t room = sums.shape(1) - col;
    const std::uint16_t* weights = col_weights.data();
    std::size_t first = 0, last = width < room ? width : room;
    while (first < last && weights[first] == 0) ++first;
    while (first < last && weights[last - 1] == 0) --last;
    nb::gil_scoped_release unlocked;
    for (std::size_t r = 0; r < rows; ++r) {
        const std::uint16_t row_weight = row_weights.data()[r];
        if (row_weight == 0) continue;
        accumulate_row(sums.data() + r * sums.shape(1) + col + first, tile.data() + r * width + first,
                       weights + first, row_weight, last - first);
    }
}

void finalise(Sums sums, Valid valid, Band band) {
    const std::size_t rows = band.shape(0), width = band.shape(1);
    if (sums.shape(0) < rows || sums.shape(1) != width || valid.shape(0) != rows || valid.shape(1) != width) {
        throw std::invalid_argument("sums, valid and band do not have the same size");
    }
    nb::gil_scoped_release unlocked;
    finalise_row(band.data(), sums.data(), valid.data(), rows * width);
}

}  // namespace

NB_MODULE(_native, module) {
    module.doc() = "Mosaicking in integers; see calanddet.runtime.mosaic.twin for the same in NumPy.";
    module.def("accumulate", &accumulate, nb::arg("sums").noconvert(), nb::arg("tile").noconvert(),
               nb::arg("row_weights").noconvert(), nb::arg("col_weights").noconvert(), nb::arg("col"));
    module.def("finalise", &finalise, nb::arg("sums").noconvert(), nb::arg("valid").noconvert(),
               nb::arg("band").noconvert());
}
