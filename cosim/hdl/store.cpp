// The store: one piece of memory, mapped shared by Python and by this library, that holds mailboxes, packet records and the memory
// of every node. HDL reaches it word by word in zero simulated time: by DPI under Verilator, by VPI elsewhere.
//
// NIMBLE_STORE names the file. Offsets come from HDL that checks addresses before; an offset outside the file is an
// internal error and aborts with a message.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

uint8_t *base = nullptr;
uint64_t length = 0;

[[noreturn]] void fail(const char *what, uint64_t value) {
    fprintf(stderr, "nimble store: %s (%llu)\n", what, (unsigned long long)value);
    abort();
}

void attach() {
    const char *path = getenv("NIMBLE_STORE");
    if (!path) fail("the environment variable NIMBLE_STORE is not set", 0);
    int descriptor = open(path, O_RDWR);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) < 0) fail("cannot open the file that NIMBLE_STORE names", 0);
    length = status.st_size;
    void *memory = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED) fail("cannot map the store; length in bytes", length);
    close(descriptor);
    base = static_cast<uint8_t *>(memory);
}

inline uint8_t *word_at(uint64_t offset) {
    if (__builtin_expect(!base, 0)) attach();
    if (__builtin_expect(offset % 8 != 0 || offset + 8 > length, 0)) fail("offset outside the store", offset);
    return base + offset;
}

inline uint64_t read_word(uint64_t offset) {
    uint64_t data;
    memcpy(&data, word_at(offset), 8);
    return data;
}

inline void write_word(uint64_t offset, uint64_t data, unsigned strobe) {
    uint8_t *target = word_at(offset);
    if ((strobe & 0xff) == 0xff) {
        memcpy(target, &data, 8);
        return;
    }
    for (int byte = 0; byte < 8; byte++)
        if (strobe >> byte & 1) target[byte] = data >> (8 * byte);
}

}  // namespace

#ifdef NIMBLE_VPI

#include <vpi_user.h>

namespace {

uint64_t argument(vpiHandle iterator) {
    s_vpi_value value;
    value.format = vpiVectorVal;
    vpiHandle handle = vpi_scan(iterator);
    vpi_get_value(handle, &value);
    uint64_t result = (uint32_t)value.value.vector[0].aval;
    if (vpi_get(vpiSize, handle) > 32) result |= (uint64_t)(uint32_t)value.value.vector[1].aval << 32;
    return result;
}

PLI_INT32 size_of_word(PLI_BYTE8 *) { return 64; }

PLI_INT32 call_read(PLI_BYTE8 *) {
    vpiHandle call = vpi_handle(vpiSysTfCall, nullptr);
    vpiHandle iterator = vpi_iterate(vpiArgument, call);
    uint64_t data = read_word(argument(iterator));
    vpi_free_object(iterator);
    s_vpi_vecval words[2] = {{(PLI_INT32)data, 0}, {(PLI_INT32)(data >> 32), 0}};
    s_vpi_value value;
    value.format = vpiVectorVal;
    value.value.vector = words;
    vpi_put_value(call, &value, nullptr, vpiNoDelay);
    return 0;
}

PLI_INT32 call_write(PLI_BYTE8 *) {
    vpiHandle call = vpi_handle(vpiSysTfCall, nullptr);
    vpiHandle iterator = vpi_iterate(vpiArgument, call);
    uint64_t offset = argument(iterator);
    uint64_t data = argument(iterator);
    write_word(offset, data, (unsigned)argument(iterator));
    vpi_free_object(iterator);
    return 0;
}

void register_functions() {
    s_vpi_systf_data read = {vpiSysFunc, vpiSizedFunc, (PLI_BYTE8 *)"$nimble_store_read", call_read, nullptr,
                             size_of_word, nullptr};
    s_vpi_systf_data write = {vpiSysTask, 0, (PLI_BYTE8 *)"$nimble_store_write", call_write, nullptr, nullptr, nullptr};
    vpi_register_systf(&read);
    vpi_register_systf(&write);
}

}  // namespace

extern "C" {
void (*vlog_startup_routines[])() = {register_functions, nullptr};
}

#else

extern "C" long long nimble_store_read(long long offset) { return (long long)read_word((uint64_t)offset); }

extern "C" void nimble_store_write(long long offset, long long data, char strobe) {
    write_word((uint64_t)offset, (uint64_t)data, (unsigned char)strobe);
}

#endif
