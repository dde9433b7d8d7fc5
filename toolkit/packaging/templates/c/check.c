/*
 * Holds this machine against the one that made the package: runs the golden samples and compares
 * the outputs. Exits with 1 when one is further off than it may be.
 *
 *     check [MODEL [GOLDEN-FOLDER [RUNTIME-LIBRARY]]]
 */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <onnxruntime_c_api.h>

static double value_at(const void *data, int type, size_t i) {
    switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8: return ((const uint8_t *)data)[i];
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8: return ((const int8_t *)data)[i];
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32: return ((const int32_t *)data)[i];
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64: return (double)((const int64_t *)data)[i];
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return (double)((const float *)data)[i];
    default: return ((const double *)data)[i];
    }
}

/* The largest difference of two tensors; infinite when one holds something that is no number. */
static double difference(const struct tensor *tensor, const void *one, const void *other) {
    double largest = 0;
    for (size_t i = 0; i < tensor->values; i++) {
        double d = fabs(value_at(one, tensor->type, i) - value_at(other, tensor->type, i));
        if (isnan(d)) return INFINITY;
        if (d > largest) largest = d;
    }
    return largest;
}

static FILE *open_golden(const char *folder, const char *kind, size_t number) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-%zu.bin", folder, kind, number);
    FILE *file = fopen(path, "rb");
    if (file == NULL) fprintf(stderr, "%s cannot be read.\n", path);
    return file;
}

static int check(struct model *model, FILE *given[], FILE *wanted[], void *in[], void *out[],
                 void *expected[]) {
    int met = 0;
    double worst = 0;
    for (int run = 0; run < GOLDEN_RUNS; run++) {
        for (size_t i = 0; i < MODEL_INPUTS; i++) {
            if (fread(in[i], model_inputs[i].bytes, 1, given[i]) != 1) return -1;
        }
        if (model_run(model, in, out) != 0) {
            fprintf(stderr, "%s\n", model_reason(model));
            return -1;
        }
        int good = 1;
        for (size_t i = 0; i < MODEL_OUTPUTS; i++) {
            if (fread(expected[i], model_outputs[i].bytes, 1, wanted[i]) != 1) return -1;
            double d = difference(&model_outputs[i], out[i], expected[i]);
            if (d > model_outputs[i].tolerance) good = 0;
            if (d > worst) worst = d;
        }
        met += good;
    }
    printf("%d of %d golden samples agree; largest difference %.3g, allowed %.3g\n", met,
           GOLDEN_RUNS, worst, model_outputs[0].tolerance);
    return met == GOLDEN_RUNS ? 0 : -1;
}

int main(int count, char *arguments[]) {
    const char *file = count > 1 ? arguments[1] : "model.onnx";
    const char *folder = count > 2 ? arguments[2] : "golden";
    char reason[256];
    struct model *model = model_open(file, count > 3 ? arguments[3] : NULL, reason, sizeof reason);
    if (model == NULL) {
        fprintf(stderr, "%s\n", reason);
        return 1;
    }
    FILE *given[MODEL_INPUTS] = {NULL}, *wanted[MODEL_OUTPUTS] = {NULL};
    void *in[MODEL_INPUTS], *out[MODEL_OUTPUTS], *expected[MODEL_OUTPUTS];
    int ready = 1;
    for (size_t i = 0; i < MODEL_INPUTS; i++) {
        given[i] = open_golden(folder, "input", i);
        in[i] = malloc(model_inputs[i].bytes);
        ready = ready && given[i] && in[i];
    }
    for (size_t i = 0; i < MODEL_OUTPUTS; i++) {
        wanted[i] = open_golden(folder, "output", i);
        out[i] = malloc(model_outputs[i].bytes);
        expected[i] = malloc(model_outputs[i].bytes);
        ready = ready && wanted[i] && out[i] && expected[i];
    }
    int result = ready ? check(model, given, wanted, in, out, expected) : -1;
    for (size_t i = 0; i < MODEL_INPUTS; i++) {
        if (given[i]) fclose(given[i]);
        free(in[i]);
    }
    for (size_t i = 0; i < MODEL_OUTPUTS; i++) {
        if (wanted[i]) fclose(wanted[i]);
        free(out[i]);
        free(expected[i]);
    }
    model_close(model);
    return result == 0 ? 0 : 1;
}
