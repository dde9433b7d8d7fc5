/*
 * Runs the model on tensors from files: main INPUT.bin..., one per input. A file holds raw values;
 * what comes after the first sample is left alone.
 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

static void *inputs[MODEL_INPUTS];
static void *outputs[MODEL_OUTPUTS];

static int read_inputs(char *files[]) {
    for (size_t i = 0; i < MODEL_INPUTS; i++) {
        inputs[i] = malloc(model_inputs[i].bytes);
        FILE *file = fopen(files[i], "rb");
        size_t read = file && inputs[i] ? fread(inputs[i], 1, model_inputs[i].bytes, file) : 0;
        if (file != NULL) fclose(file);
        if (read != model_inputs[i].bytes) {
            fprintf(stderr, "%s: %zu bytes of the input '%s' wanted, %zu found\n", files[i],
                    model_inputs[i].bytes, model_inputs[i].name, read);
            return -1;
        }
    }
    for (size_t i = 0; i < MODEL_OUTPUTS; i++) {
        outputs[i] = malloc(model_outputs[i].bytes);
        if (outputs[i] == NULL) return -1;
    }
    return 0;
}

static void show(void) {
#if MODEL_CLASSES
    float probabilities[MODEL_CLASSES];
    int best = model_probabilities(outputs[0], probabilities);
    printf("%s  %.1f %%\n", model_labels[best], 100 * (double)probabilities[best]);
#else
    for (size_t i = 0; i < MODEL_OUTPUTS; i++) {
        printf("%s  %zu values\n", model_outputs[i].name, model_outputs[i].values);
    }
#endif
}

int main(int count, char *arguments[]) {
    if (count != 1 + MODEL_INPUTS) {
        fprintf(stderr, "usage: %s", arguments[0]);
        for (size_t i = 0; i < MODEL_INPUTS; i++) fprintf(stderr, " INPUT-%zu.bin", i);
        fprintf(stderr, "\n");
        return 2;
    }
    char reason[256];
    struct model *model = model_open("model.onnx", NULL, reason, sizeof reason);
    if (model == NULL) {
        fprintf(stderr, "%s\n", reason);
        return 1;
    }
    int result = read_inputs(arguments + 1);
    if (result == 0) {
        result = model_run(model, inputs, outputs);
        if (result == 0) show();
        else fprintf(stderr, "%s\n", model_reason(model));
    }
    for (size_t i = 0; i < MODEL_INPUTS; i++) free(inputs[i]);
    for (size_t i = 0; i < MODEL_OUTPUTS; i++) free(outputs[i]);
    model_close(model);
    return result == 0 ? 0 : 1;
}
