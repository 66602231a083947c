/* The arithmetic of the package arithmetic-compressor 0.2, operation for operation; see engine_c.py.

   SimpleAdaptiveModel: probabilities in doubles; after each symbol p <- max(p * r + (1 - r)[if coded], 1/4096)
   with r = 1 - 1/1024; frequencies are round(4096 * p), half to even. The coder has 16 bits and no carry. */

#include <math.h>
#include <stdint.h>

#define TOP 0xFFFF
#define HALF 0x8000
#define QUARTER 0x4000

/* The adaptive models: rows of `width` symbols each, and for each model the size of its alphabet and the sum
   of its frequencies. */
typedef struct {
    double *p;
    int32_t *frequency;
    const int64_t *sizes;
    int64_t *totals;
    int64_t width;
} Models;

static void adapt(const Models *models, int64_t m, int64_t symbol)
{
    const double rate = 1 - 1.0 / 1024, gain = 1 - rate, least = 1.0 / 4096;
    double *p = models->p + m * models->width;
    int32_t *frequency = models->frequency + m * models->width;
    int64_t size = models->sizes[m], total = 0;
    double coded = p[symbol] * rate + gain;
    for (int64_t s = 0; s < size; s++)
        p[s] = p[s] * rate > least ? p[s] * rate : least;
    p[symbol] = coded > least ? coded : least;
    for (int64_t s = 0; s < size; s++) {
        frequency[s] = (int32_t)lrint(4096.0 * p[s]);
        total += frequency[s];
    }
    models->totals[m] = total;
}

static int64_t put(uint8_t *out, int64_t bits, int64_t bit)
{
    out[bits >> 3] |= (uint8_t)(bit << (7 - (bits & 7)));
    return bits + 1;
}

/* What a writer knows between two calls; bits: in `out`. */
typedef struct {
    int64_t low, high, pending, bits;
} WriterState;

/* Add the code of n symbols to `out`, which is zero behind its bits. */
void encode(const int16_t *symbols, const int16_t *contexts, int64_t n, Models *models, WriterState *state,
            uint8_t *out)
{
    int64_t low = state->low, high = state->high, pending = state->pending, bits = state->bits;
    for (int64_t i = 0; i < n; i++) {
        int64_t m = contexts[i], symbol = symbols[i], below = 0, span = high - low + 1;
        const int32_t *frequency = models->frequency + m * models->width;
        for (int64_t s = 0; s < symbol; s++)
            below += frequency[s];
        high = low + (below + frequency[symbol]) * span / models->totals[m] - 1;
        low = low + below * span / models->totals[m];
        while (((low ^ high) & HALF) == 0) {
            int64_t bit = low >> 15;
            for (bits = put(out, bits, bit); pending; pending--)
                bits = put(out, bits, bit ^ 1);
            low = (low << 1) & TOP;
            high = ((high << 1) & TOP) | 1;
        }
        while ((low & ~high & QUARTER) != 0) {
            pending++;
            low = (low << 1) ^ HALF;
            high = ((high ^ HALF) << 1) | HALF | 1;
        }
        adapt(models, m, symbol);
    }
    *state = (WriterState){low, high, pending, bits};
}

/* What a reader knows between two calls; position: bits read. */
typedef struct {
    int64_t low, high, value, position;
} ReaderState;

/* The next bit of a code that is followed by zeros. */
static int64_t next(const uint8_t *code, int64_t end, ReaderState *state)
{
    int64_t position = state->position++;
    return position < end ? (code[position >> 3] >> (7 - (position & 7))) & 1 : 0;
}

/* Fill `symbols`; returns 0 where the code, of `size` bytes, is read further than any encoder relies on. */
int32_t decode(const uint8_t *code, int64_t size, const int16_t *contexts, int64_t n, Models *models,
               ReaderState *state, int32_t *symbols)
{
    int64_t end = 8 * size;
    while (state->position < 16)
        state->value = state->value << 1 | next(code, end, state);
    for (int64_t i = 0; i < n; i++) {
        if (state->position > end + 15)
            return 0;
        int64_t m = contexts[i], symbol = 0, below = 0, span = state->high - state->low + 1;
        const int32_t *frequency = models->frequency + m * models->width;
        int64_t target = ((state->value - state->low + 1) * models->totals[m] - 1) / span;
        while (below + frequency[symbol] <= target)
            below += frequency[symbol++];
        symbols[i] = (int32_t)symbol;
        state->high = state->low + (below + frequency[symbol]) * span / models->totals[m] - 1;
        state->low = state->low + below * span / models->totals[m];
        while (((state->low ^ state->high) & HALF) == 0) {
            state->value = ((state->value << 1) & TOP) | next(code, end, state);
            state->low = (state->low << 1) & TOP;
            state->high = ((state->high << 1) & TOP) | 1;
        }
        while ((state->low & ~state->high & QUARTER) != 0) {
            state->value = (state->value & HALF) | ((state->value << 1) & (TOP >> 1)) | next(code, end, state);
            state->low = (state->low << 1) ^ HALF;
            state->high = ((state->high ^ HALF) << 1) | HALF | 1;
        }
        adapt(models, m, symbol);
    }
    return state->position <= end + 15;
}
