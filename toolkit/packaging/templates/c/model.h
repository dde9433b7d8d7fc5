/* The model: open it once, run it often, close it. One model runs in one thread at a time. */
#ifndef MODEL_H
#define MODEL_H

#include "contract.h"

struct model;

/*
 * Load a model file. `runtime` is the onnxruntime library; NULL looks for libonnxruntime.so.1
 * beside the program and where the system keeps libraries.
 * Returns NULL when that fails, with the reason in `reason`.
 */
struct model *model_open(const char *file, const char *runtime, char *reason, size_t size);

/*
 * Run the graph: one pointer per input and per output, to as many values as contract.h says.
 * Returns 0, or -1 with the reason in model_reason().
 */
int model_run(struct model *model, void *const inputs[], void *const outputs[]);

/* Why the last model_run() failed. */
const char *model_reason(const struct model *model);

void model_close(struct model *model);

#if MODEL_CLASSES
/*
 * Turn the first output's scores of one sample into the probabilities of all classes.
 * Returns the index of the likeliest.
 */
int model_probabilities(const model_score *scores, float probabilities[]);
#endif

#endif
