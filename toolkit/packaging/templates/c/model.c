/* Runs the model through onnxruntime's C interface. */
#include "model.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <onnxruntime_c_api.h>

/*
 * The library is opened by name and asked for an old version of its interface, which every later
 * one still has: the same program runs with that onnxruntime and everything since. A program that
 * is linked to the library would refuse any other version than its own.
 */

struct model {
    void *library;
    const OrtApi *ort;
    OrtEnv *environment;
    OrtSession *session;
    OrtMemoryInfo *memory;
    char reason[256];
};

/* Keep the reason of a failure. Returns 0 when there is none. */
static int failed(struct model *model, OrtStatus *status) {
    if (status == NULL) return 0;
    snprintf(model->reason, sizeof model->reason, "%s", model->ort->GetErrorMessage(status));
    model->ort->ReleaseStatus(status);
    return -1;
}

static int open_library(struct model *model, const char *runtime) {
    const char *name = runtime ? runtime : "libonnxruntime.so.1";
    model->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (model->library == NULL) {
        snprintf(model->reason, sizeof model->reason, "%s (./get-runtime.sh brings it)", dlerror());
        return -1;
    }
    const OrtApiBase *(*get_base)(void);
    /* POSIX promises that this conversion works; ISO C has no cast for it. */
    void *symbol = dlsym(model->library, "OrtGetApiBase");
    memcpy(&get_base, &symbol, sizeof get_base);
    model->ort = symbol ? get_base()->GetApi(RUNTIME_INTERFACE) : NULL;
    if (model->ort == NULL) {
        snprintf(model->reason, sizeof model->reason, "%s is older than onnxruntime 1.%d", name,
                 RUNTIME_INTERFACE);
        return -1;
    }
    return 0;
}

static int open_session(struct model *model, const char *file) {
    const OrtApi *ort = model->ort;
    OrtSessionOptions *options = NULL;
    if (failed(model, ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "model", &model->environment)) ||
        failed(model, ort->CreateSessionOptions(&options))) {
        return -1;
    }
    /* The contract's options; int8 products are exact on every CPU. */
    const char *disabled = MODEL_DISABLED_OPTIMIZERS;
    int result = failed(model, ort->SetIntraOpNumThreads(options, MODEL_THREADS)) ||
                 (*disabled &&
                  failed(model, ort->AddSessionConfigEntry(
                                    options, "optimization.disable_specified_optimizers",
                                    disabled))) ||
                 failed(model, ort->AddSessionConfigEntry(
                                   options, "session.x64quantprecision", "1")) ||
                 failed(model, ort->CreateSession(
                                   model->environment, file, options, &model->session)) ||
                 failed(model, ort->CreateCpuMemoryInfo(
                                   OrtArenaAllocator, OrtMemTypeDefault, &model->memory));
    ort->ReleaseSessionOptions(options);
    return result ? -1 : 0;
}

struct model *model_open(const char *file, const char *runtime, char *reason, size_t size) {
    struct model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        snprintf(reason, size, "out of memory");
        return NULL;
    }
    if (open_library(model, runtime) != 0 || open_session(model, file) != 0) {
        snprintf(reason, size, "%s", model->reason);
        model_close(model);
        return NULL;
    }
    return model;
}

/* Give onnxruntime our own memory as tensors, so that a run copies nothing. */
static int wrap(struct model *model, const struct tensor *tensors, size_t count,
                void *const data[], OrtValue *values[], const char *names[]) {
    for (size_t i = 0; i < count; i++) {
        names[i] = tensors[i].name;
        if (failed(model, model->ort->CreateTensorWithDataAsOrtValue(
                              model->memory, data[i], tensors[i].bytes, tensors[i].shape,
                              tensors[i].dimensions, (ONNXTensorElementDataType)tensors[i].type,
                              &values[i]))) {
            return -1;
        }
    }
    return 0;
}

int model_run(struct model *model, void *const inputs[], void *const outputs[]) {
    OrtValue *given[MODEL_INPUTS] = {NULL};
    OrtValue *got[MODEL_OUTPUTS] = {NULL};
    const char *given_names[MODEL_INPUTS];
    const char *got_names[MODEL_OUTPUTS];
    int result = wrap(model, model_inputs, MODEL_INPUTS, inputs, given, given_names) ||
                 wrap(model, model_outputs, MODEL_OUTPUTS, outputs, got, got_names) ||
                 failed(model, model->ort->Run(model->session, NULL, given_names,
                                               (const OrtValue *const *)given, MODEL_INPUTS,
                                               got_names, MODEL_OUTPUTS, got));
    for (size_t i = 0; i < MODEL_INPUTS; i++) model->ort->ReleaseValue(given[i]);
    for (size_t i = 0; i < MODEL_OUTPUTS; i++) model->ort->ReleaseValue(got[i]);
    return result ? -1 : 0;
}

const char *model_reason(const struct model *model) {
    return model->reason;
}

void model_close(struct model *model) {
    if (model == NULL) return;
    if (model->ort != NULL) {
        model->ort->ReleaseMemoryInfo(model->memory);
        model->ort->ReleaseSession(model->session);
        model->ort->ReleaseEnv(model->environment);
    }
    /* The library stays open: onnxruntime is not made to be unloaded. */
    free(model);
}

#if MODEL_CLASSES
int model_probabilities(const model_score *scores, float probabilities[]) {
    /* One column is the output of a binary classifier: softmax of [0, s], or [1 - p, p]. */
    model_score both[MODEL_CLASSES] = {0};
    for (int i = 0; i < MODEL_CLASSES; i++) {
        both[i] = MODEL_COLUMNS == MODEL_CLASSES ? scores[i] : i * scores[0];
    }
    if (MODEL_COLUMNS != MODEL_CLASSES && !MODEL_LOGITS) both[0] = 1 - scores[0];

    int best = 0;
    double sum = 0;
    for (int i = 1; i < MODEL_CLASSES; i++) {
        if (both[i] > both[best]) best = i;
    }
    for (int i = 0; i < MODEL_CLASSES; i++) {
        double value = (double)both[i];
        probabilities[i] = (float)(MODEL_LOGITS ? exp(value - (double)both[best]) : value);
        sum += (double)probabilities[i];
    }
    for (int i = 0; MODEL_LOGITS && i < MODEL_CLASSES; i++) probabilities[i] /= (float)sum;
    return best;
}
#endif
