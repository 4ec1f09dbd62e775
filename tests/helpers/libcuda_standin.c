/* A libcuda.so.1 without a GPU: enough of the driver for a ring of slots, done at once when it is asked for.
 *
 * It shows that the Python packages are called as they want to be, with arguments in the right order, and that their
 * answers are understood. What the order of streams and events is worth is shown by software_cuda.py instead.
 * standin_alive counts what has not been given back; standin_fail makes the calls of a name return a code.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef uint64_t Address;
enum { OK = 0, INVALID_VALUE = 1, NO_CONTEXT = 201, NOT_FOUND = 500, CAPTURE_WRONG = 900 };

typedef struct { int kind; void *to; const void *from; size_t size; } Work; /* kind 0: copy, 1: the kernel */
typedef struct { Work work[64]; int count; } Graph;
typedef struct { Graph *capture; } Stream;
typedef struct { double time; } Event;

static int alive_count, retained, launches;
static double now;
static char failing[64];
static int failure;
static char context_place;
static _Thread_local int depth;

int standin_alive(void) { return alive_count + retained; }
int standin_launches(void) { return launches; }
void standin_fail(const char *name, int code) {
    snprintf(failing, sizeof failing, "%s", name);
    failure = code;
}

#define CALL(name)                                                   \
    do {                                                             \
        if (failure && strcmp(failing, name) == 0) return failure;   \
    } while (0)
#define IN_CONTEXT(name)                                             \
    do {                                                             \
        CALL(name);                                                  \
        if (depth <= 0) return NO_CONTEXT;                           \
    } while (0)

static void run(const Work *work) {
    now += 1;
    if (work->kind == 0) {
        memcpy(work->to, work->from, work->size);
        return;
    }
    const uint8_t *red = work->from; /* min(red, 254) of size pixels */
    uint8_t *out = work->to;
    for (size_t i = 0; i < work->size; i++) out[i] = red[3 * i] < 254 ? red[3 * i] : 254;
}

static Result put(Stream *stream, Work work) {
    if (stream == NULL) return INVALID_VALUE;
    if (stream->capture) {
        stream->capture->work[stream->capture->count++] = work;
    } else {
        run(&work);
    }
    return OK;
}

Result cuInit(unsigned flags) { CALL("cuInit"); return flags ? INVALID_VALUE : OK; }
Result cuDriverGetVersion(int *version) { *version = 12060; return OK; }
Result cuDeviceGetCount(int *count) { CALL("cuDeviceGetCount"); *count = 1; return OK; }
Result cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal ? 101 : OK; }
Result cuDeviceGetName(char *name, int size, int device) {
    (void)device;
    snprintf(name, size, "Standin");
    return OK;
}
Result cuDeviceTotalMem_v2(size_t *size, int device) { (void)device; *size = (size_t)3 << 30; return OK; }
Result cuDeviceComputeCapability(int *major, int *minor, int device) {
    (void)device;
    *major = 8;
    *minor = 7;
    return OK;
}
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    switch (attribute) {
    case 75: *value = 8; return OK;  /* compute capability, major */
    case 76: *value = 7; return OK;  /* and minor */
    case 16: *value = 14; return OK; /* multiprocessors */
    case 18: *value = 1; return OK;  /* integrated */
    case 40: *value = 2; return OK;  /* copy engines */
    default: return INVALID_VALUE;
    }
}
Result cuDevicePrimaryCtxRetain(void **context, int device) {
    (void)device;
    CALL("cuDevicePrimaryCtxRetain");
    retained++;
    *context = &context_place;
    return OK;
}
Result cuDevicePrimaryCtxRelease_v2(int device) { (void)device; retained--; return OK; }
Result cuCtxPushCurrent_v2(void *context) {
    if (context != &context_place) return INVALID_VALUE;
    depth++;
    return OK;
}
Result cuCtxPopCurrent_v2(void **context) {
    if (depth <= 0) return NO_CONTEXT;
    depth--;
    *context = &context_place;
    return OK;
}
Result cuCtxGetDevice(int *device) { *device = 0; return depth > 0 ? OK : NO_CONTEXT; }
Result cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    IN_CONTEXT("cuMemGetInfo");
    *free_bytes = (size_t)2 << 30;
    *total = (size_t)3 << 30;
    return OK;
}
Result cuMemAlloc_v2(Address *address, size_t size) {
    IN_CONTEXT("cuMemAlloc");
    *address = (Address)malloc(size);
    alive_count++;
    return OK;
}
Result cuMemFree_v2(Address address) {
    IN_CONTEXT("cuMemFree");
    free((void *)address);
    alive_count--;
    return OK;
}
Result cuMemHostAlloc(void **pointer, size_t size, unsigned flags) {
    IN_CONTEXT("cuMemHostAlloc");
    if (flags != 3) return INVALID_VALUE; /* portable and mapped */
    *pointer = malloc(size);
    alive_count++;
    return OK;
}
Result cuMemFreeHost(void *pointer) {
    IN_CONTEXT("cuMemFreeHost");
    free(pointer);
    alive_count--;
    return OK;
}
Result cuMemHostGetDevicePointer_v2(Address *address, void *pointer, unsigned flags) {
    IN_CONTEXT("cuMemHostGetDevicePointer");
    *address = (Address)pointer;
    return flags ? INVALID_VALUE : OK;
}
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t size, Stream *stream) {
    IN_CONTEXT("cuMemcpyHtoDAsync");
    return put(stream, (Work){0, (void *)to, from, size});
}
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t size, Stream *stream) {
    IN_CONTEXT("cuMemcpyDtoHAsync");
    return put(stream, (Work){0, to, (const void *)from, size});
}
Result cuStreamCreate(Stream **stream, unsigned flags) {
    IN_CONTEXT("cuStreamCreate");
    if (flags != 1) return INVALID_VALUE; /* non-blocking */
    *stream = calloc(1, sizeof **stream);
    alive_count++;
    return OK;
}
Result cuStreamDestroy_v2(Stream *stream) {
    IN_CONTEXT("cuStreamDestroy");
    free(stream);
    alive_count--;
    return OK;
}
Result cuStreamSynchronize(Stream *stream) {
    IN_CONTEXT("cuStreamSynchronize");
    return stream == NULL ? INVALID_VALUE : stream->capture ? CAPTURE_WRONG : OK;
}
Result cuStreamWaitEvent(Stream *stream, Event *event, unsigned flags) {
    IN_CONTEXT("cuStreamWaitEvent");
    return stream == NULL || event == NULL || flags ? INVALID_VALUE : OK;
}
Result cuStreamBeginCapture_v2(Stream *stream, int mode) {
    IN_CONTEXT("cuStreamBeginCapture");
    if (stream->capture || mode != 1) return INVALID_VALUE; /* thread-local */
    stream->capture = calloc(1, sizeof(Graph));
    alive_count++;
    return OK;
}
Result cuStreamEndCapture(Stream *stream, Graph **graph) {
    IN_CONTEXT("cuStreamEndCapture");
    *graph = stream->capture;
    stream->capture = NULL;
    return *graph ? OK : CAPTURE_WRONG;
}
Result cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, unsigned long long flags) {
    IN_CONTEXT("cuGraphInstantiateWithFlags");
    if (flags) return INVALID_VALUE;
    *executable = malloc(sizeof **executable);
    **executable = *graph;
    alive_count++;
    return OK;
}
Result cuGraphDestroy(Graph *graph) { IN_CONTEXT("cuGraphDestroy"); free(graph); alive_count--; return OK; }
Result cuGraphExecDestroy(Graph *graph) { IN_CONTEXT("cuGraphExecDestroy"); free(graph); alive_count--; return OK; }
Result cuGraphLaunch(Graph *graph, Stream *stream) {
    IN_CONTEXT("cuGraphLaunch");
    launches++;
    for (int i = 0; i < graph->count; i++) put(stream, graph->work[i]);
    return OK;
}
/* The kernels of kernels.py: a function is its name's first letter, and spin takes no time. */
Result cuModuleLoadData(void **module, const void *image) {
    IN_CONTEXT("cuModuleLoadData");
    *module = malloc(1);
    alive_count++;
    return strstr(image, ".visible .entry echo") ? OK : INVALID_VALUE;
}
Result cuModuleGetFunction(const char **function, void *module, const char *name) {
    IN_CONTEXT("cuModuleGetFunction");
    *function = strcmp(name, "echo") == 0 ? "echo" : "spin";
    return module ? OK : INVALID_VALUE;
}
Result cuModuleUnload(void *module) { IN_CONTEXT("cuModuleUnload"); free(module); alive_count--; return OK; }
Result cuLaunchKernel(const char *function, unsigned blocks, unsigned y, unsigned z, unsigned threads, unsigned threads_y,
                      unsigned threads_z, unsigned shared, Stream *stream, void **words, void **extra) {
    IN_CONTEXT("cuLaunchKernel");
    if (y != 1 || z != 1 || threads_y != 1 || threads_z != 1 || shared || extra) return INVALID_VALUE;
    if (*function == 's') return OK;
    uint32_t pixels = *(uint32_t *)words[2];
    if (blocks * threads < pixels) return INVALID_VALUE;
    return put(stream, (Work){1, (void *)*(Address *)words[0], (const void *)*(Address *)words[1], pixels});
}
Result cuEventCreate(Event **event, unsigned flags) {
    IN_CONTEXT("cuEventCreate");
    if (flags != 1) return INVALID_VALUE; /* waiting threads sleep, and it keeps its time */
    *event = calloc(1, sizeof **event);
    alive_count++;
    return OK;
}
Result cuEventDestroy_v2(Event *event) { IN_CONTEXT("cuEventDestroy"); free(event); alive_count--; return OK; }
Result cuEventRecord(Event *event, Stream *stream) {
    IN_CONTEXT("cuEventRecord");
    if (stream == NULL) return INVALID_VALUE;
    event->time = now;
    return OK;
}
Result cuEventSynchronize(Event *event) { IN_CONTEXT("cuEventSynchronize"); return event ? OK : INVALID_VALUE; }
Result cuEventElapsedTime_v2(float *milliseconds, Event *start, Event *stop) {
    IN_CONTEXT("cuEventElapsedTime");
    *milliseconds = (float)(stop->time - start->time);
    return OK;
}
Result cuEventElapsedTime(float *milliseconds, Event *start, Event *stop) {
    return cuEventElapsedTime_v2(milliseconds, start, stop);
}
Result cuGetErrorName(int code, const char **name) {
    *name = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_UNKNOWN";
    return OK;
}
Result cuGetErrorString(int code, const char **text) {
    *text = code == 2 ? "out of memory" : "something went wrong";
    return OK;
}

static const struct { const char *name; void *function; } TABLE[] = {
#define PLAIN(name) {#name, (void *)name}
#define SECOND(name) {#name, (void *)name##_v2}
    PLAIN(cuInit), PLAIN(cuDriverGetVersion), PLAIN(cuDeviceGetCount), PLAIN(cuDeviceGet), PLAIN(cuDeviceGetName),
    SECOND(cuDeviceTotalMem), PLAIN(cuDeviceGetAttribute), PLAIN(cuDevicePrimaryCtxRetain),
    SECOND(cuDevicePrimaryCtxRelease), SECOND(cuCtxPushCurrent), SECOND(cuCtxPopCurrent), SECOND(cuMemGetInfo),
    SECOND(cuMemAlloc), SECOND(cuMemFree), PLAIN(cuMemHostAlloc), PLAIN(cuMemFreeHost),
    SECOND(cuMemHostGetDevicePointer), SECOND(cuMemcpyHtoDAsync), SECOND(cuMemcpyDtoHAsync), PLAIN(cuStreamCreate),
    SECOND(cuStreamDestroy), PLAIN(cuStreamSynchronize), PLAIN(cuStreamWaitEvent), SECOND(cuStreamBeginCapture),
    PLAIN(cuStreamEndCapture), PLAIN(cuGraphInstantiateWithFlags), {"cuGraphInstantiate", (void *)cuGraphInstantiateWithFlags},
    PLAIN(cuGraphDestroy), PLAIN(cuGraphExecDestroy), PLAIN(cuGraphLaunch), PLAIN(cuEventCreate), SECOND(cuEventDestroy),
    PLAIN(cuEventRecord), PLAIN(cuEventSynchronize), PLAIN(cuEventElapsedTime), PLAIN(cuGetErrorName),
    PLAIN(cuGetErrorString),
};

Result cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    (void)version;
    (void)flags;
    *function = NULL;
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        if (strcmp(TABLE[i].name, name) == 0) *function = TABLE[i].function;
    }
    if (status) *status = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
Result cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}
