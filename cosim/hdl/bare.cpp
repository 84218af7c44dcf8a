// bare SCRIPT CYCLES: plays the register writes of SCRIPT (lines "node address value"), then runs CYCLES clock cycles and
// prints how many seconds of processor time they took. Memory is the store that NIMBLE_STORE names.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "Vtop.h"
#include "verilated.h"

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: bare SCRIPT CYCLES\n"), 2;
    FILE *script = fopen(argv[1], "r");
    if (!script) return perror(argv[1]), 2;
    const auto top = std::make_unique<Vtop>();
    const auto cycle = [&] {
        top->clk = 1;
        top->eval();
        top->clk = 0;
        top->eval();
    };
    top->rst = 1;
    for (int i = 0; i < 16; i++) cycle();
    top->rst = 0;
    unsigned node;
    unsigned long long address, value;
    while (fscanf(script, "%u %llu %llu", &node, &address, &value) == 3) {
        top->node = node;
        top->address = address;
        top->data = value;
        top->start = 1;
        cycle();
        top->start = 0;
        for (int waited = 0; !top->done; waited++) {
            if (waited == 1000) return fprintf(stderr, "no answer to a write to %#llx\n", address), 1;
            cycle();
        }
    }
    const clock_t began = clock();
    for (long n = atol(argv[2]); n > 0; n--) cycle();
    printf("%.6f\n", double(clock() - began) / CLOCKS_PER_SEC);
}
