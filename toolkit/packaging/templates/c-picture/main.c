/* Classifies pictures: main PICTURE.pgm... */
#include "model.h"
#include "picture.h"

#include <stdio.h>
#include <stdlib.h>

/* Buffers of one run; static, because they may be larger than a stack. */
static picture_value *input;
static void *outputs[MODEL_OUTPUTS];

static int allocate(void) {
    input = calloc(1, model_inputs[0].bytes);
    int ready = input != NULL;
    for (size_t i = 0; i < MODEL_OUTPUTS; i++) {
        outputs[i] = malloc(model_outputs[i].bytes);
        ready = ready && outputs[i] != NULL;
    }
    return ready ? 0 : -1;
}

static int classify(struct model *model, const char *file) {
    struct picture picture;
    const char *reason;
    if (picture_read(file, &picture, &reason) != 0) {
        fprintf(stderr, "%s %s\n", file, reason);
        return -1;
    }
    int result = picture_to_input(&picture, input);
    free(picture.pixels);
    if (result != 0) {
        fprintf(stderr, "%s shows nothing that can be read\n", file);
        return -1;
    }
    if (model_run(model, (void *[]){input}, outputs) != 0) {
        fprintf(stderr, "%s\n", model_reason(model));
        return -1;
    }
#if MODEL_CLASSES
    float probabilities[MODEL_CLASSES];
    int best = model_probabilities(outputs[0], probabilities);
    printf("%s  %s  %.1f %%\n", file, model_labels[best], 100 * (double)probabilities[best]);
#else
    printf("%s  %zu values\n", file, model_outputs[0].values);
#endif
    return 0;
}

int main(int count, char *arguments[]) {
    if (count < 2) {
        fprintf(stderr, "usage: %s PICTURE.pgm...\n", arguments[0]);
        return 2;
    }
    char reason[256];
    struct model *model = model_open("model.onnx", NULL, reason, sizeof reason);
    if (model == NULL) {
        fprintf(stderr, "%s\n", reason);
        return 1;
    }
    int failures = allocate() == 0 ? 0 : 1;
    for (int i = 1; i < count && failures == 0; i++) failures += classify(model, arguments[i]) != 0;
    free(input);
    for (size_t i = 0; i < MODEL_OUTPUTS; i++) free(outputs[i]);
    model_close(model);
    return failures == 0 ? 0 : 1;
}
