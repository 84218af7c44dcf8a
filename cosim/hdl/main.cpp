// Runs the verilated machine under cocotb: the order of evaluation and callbacks within a time step that IEEE 1800-2017
// (4.4, 4.9) prescribes, and nothing else, since a machine has thousands of time steps per wake-up of Python.
//
// In a model built for waves, +waves=FILE records a waveform, +waves_from=PS and +waves_to=PS a part of it.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "Vtop.h"
#include "verilated.h"
#include "verilated_vpi.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
using WaveFile = VerilatedFstC;
#elif VM_TRACE
#include "verilated_vcd_c.h"
using WaveFile = VerilatedVcdC;
#endif

extern "C" void vlog_startup_routines_bootstrap(void);  // loads cocotb

namespace {

#if VM_TRACE
class Waves {
    std::unique_ptr<WaveFile> file;
    uint64_t from = 0, to = UINT64_MAX;

    // Value of the argument +name=value, empty if it is not there.
    static std::string argument(const std::string &name) {
        const std::string match = Verilated::threadContextp()->commandArgsPlusMatch((name + "=").c_str());
        return match.empty() ? match : match.substr(name.size() + 2);
    }
    static uint64_t number(const std::string &name, uint64_t otherwise) {
        const std::string text = argument(name);
        return text.empty() ? otherwise : strtoull(text.c_str(), nullptr, 10);
    }

public:
    explicit Waves(Vtop &top) {
        const std::string path = argument("waves");
        if (path.empty()) return;
        from = number("waves_from", from);
        to = number("waves_to", to);
        file = std::make_unique<WaveFile>();
        top.trace(file.get(), 99);
        file->open(path.c_str());
    }
    void record(uint64_t time) {
        if (file && time >= from && time <= to) file->dump(time);
    }
    void close() {
        if (file) file->close();
    }
};
#else
struct Waves {
    explicit Waves(Vtop &) {}
    void record(uint64_t) {}
    void close() {}
};
#endif

void call_value_changes() {
    while (VerilatedVpi::callValueCbs()) {
    }
}

// Evaluates until neither hardware nor a callback changes anything at this time any more.
void settle(Vtop &top) {
    do {
        do {
            top.eval_step();
            VerilatedVpi::clearEvalNeeded();
            VerilatedVpi::doInertialPuts();
            call_value_changes();
        } while (VerilatedVpi::evalNeeded());
        VerilatedVpi::callCbs(cbReadWriteSynch);
        VerilatedVpi::doInertialPuts();
        call_value_changes();
    } while (VerilatedVpi::evalNeeded());
    top.eval_end_step();
    VerilatedVpi::callCbs(cbReadOnlySynch);
}

uint64_t next_time(Vtop &top) {
    const uint64_t callback = VerilatedVpi::cbNextDeadline();
    return top.eventsPending() ? std::min<uint64_t>(callback, top.nextTimeSlot()) : callback;
}

}  // namespace

int main(int argc, char **argv) {
    VerilatedContext &context = *Verilated::threadContextp();
    context.commandArgs(argc, argv);
#if VM_TRACE
    context.traceEverOn(true);
#endif
    const auto top = std::make_unique<Vtop>(&context, "");  // cocotb looks the module up without a prefix
    Verilated::fatalOnVpiError(false);  // cocotb asks for system functions that Verilator does not have
    Waves waves(*top);

    vlog_startup_routines_bootstrap();
    VerilatedVpi::callCbs(cbStartOfSimulation);
    call_value_changes();

    while (!context.gotFinish()) {
        settle(*top);
        waves.record(context.time());
        const uint64_t time = next_time(*top);
        if (time == UINT64_MAX) break;  // nothing will ever happen again
        context.time(time);
        VerilatedVpi::callCbs(cbNextSimTime);
        VerilatedVpi::callTimedCbs();
        call_value_changes();
    }

    VerilatedVpi::callCbs(cbEndOfSimulation);
    top->final();
    waves.close();
    return context.errorCount() > 0;
}
