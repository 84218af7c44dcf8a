// Several NICs, verilated, with what surrounds them: host memories, a CPU on each register bus, an ideal fabric. All of
// it stalls at random, and judges the NICs by the rules of AXI and of streams. Python drives it through the functions
// at the end; see simulator.py.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "Vnic.h"
#include "verilated.h"

namespace {

constexpr int FLIT_BYTES = DATAPATH_BITS / 8;
constexpr size_t EARLY_WORDS = 4;  // data that memory takes before it has taken their address
constexpr uint32_t UNANSWERED_ACCESSES = 4;
constexpr uint64_t ADDRESSES = 1ull << 48;
constexpr int OKAY = 0, SLVERR = 2, DECERR = 3;

struct Flit {
    uint8_t bytes[FLIT_BYTES];
    bool last;
    bool operator==(const Flit &other) const {
        return last == other.last && memcmp(bytes, other.bytes, FLIT_BYTES) == 0;
    }
};

struct Settings {
    uint64_t seed;
    uint32_t memory_bytes;
    uint32_t read_latency, write_latency;  // cycles
    uint32_t memory_stall, fabric_stall, bus_stall;  // chances in 256 that a channel waits in a cycle
    uint32_t transit;                      // most cycles that a packet is under way; least is 1
    uint32_t loss;                         // chance in 256 that a packet is lost on its way
    uint32_t mirrored;                     // memory is seen at the end of all addresses, too
};

// Ref: xorshift64*, S. Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2016).
struct Random {
    uint64_t state;
    explicit Random(uint64_t seed) : state(seed * 2654435769u + 88172645463325252ull) {}
    uint32_t below(uint32_t bound) {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return static_cast<uint32_t>((state * 2685821657736338717ull) >> 32) % bound;
    }
    bool goes(uint32_t stall) { return stall == 0 || below(256) >= stall; }
};

std::string complaint;  // the first broken rule
uint64_t cycle;

void rule(bool kept, int node, const char *text) {
    if (!kept && complaint.empty())
        complaint = "node " + std::to_string(node) + ", cycle " + std::to_string(cycle) + ": " + text;
}

template <typename Wide>
Flit flit_of(const Wide &payload) {
    Flit flit;
    memcpy(flit.bytes, &payload[0], FLIT_BYTES);
    flit.last = payload[DATAPATH_BITS / 32] & 1;
    return flit;
}

template <typename Wide>
void set_flit(Wide &payload, const Flit &flit) {
    memcpy(&payload[0], flit.bytes, FLIT_BYTES);
    payload[DATAPATH_BITS / 32] = flit.last;
}

template <typename Signal>
const uint8_t *bytes_of(const Signal &signal) {
    return reinterpret_cast<const uint8_t *>(&signal);
}

// A valid/ready channel as its source must drive it.
struct Held {
    bool offered = false;
    std::vector<uint8_t> payload;
    void judge(bool valid, bool ready, const std::vector<uint8_t> &now, int node, const char *text) {
        rule(!offered || (valid && now == payload), node, text);
        offered = valid && !ready;
        payload = now;
    }
};

template <typename... Signals>
std::vector<uint8_t> payload_of(const Signals &...signals) {
    std::vector<uint8_t> bytes;
    (bytes.insert(bytes.end(), bytes_of(signals), bytes_of(signals) + sizeof(signals)), ...);
    return bytes;
}

struct Packet {
    std::vector<Flit> flits;
    uint64_t due = 0;
};

struct Access {
    uint32_t address;
    bool write, privileged;
    uint64_t data;
    uint8_t strobe;
};

struct Log {
    uint32_t node, response_class, received, flits;
    uint64_t first_cycle, last_cycle;
};

// A handshake at a node's register bus or memory; `value` is an address, or whether a beat is the last one.
enum Touched : uint32_t { BUS_WRITE, BUS_ANSWER, READ_ADDRESS, READ_DATA, WRITE_ADDRESS, WRITE_DATA, WRITE_ANSWER };

// Whoever listens on these channels may make the other side wait.
enum Channel {
    MEMORY_AW, MEMORY_W, MEMORY_B, MEMORY_AR, MEMORY_R, BUS_AW, BUS_W, BUS_B, BUS_AR, BUS_R,
    O_REQUESTS, O_RESPONSES, I_REQUESTS, I_RESPONSES, CHANNELS
};

struct Touch {
    uint64_t cycle;
    uint32_t node, touched;
    uint64_t value;
};

struct Node {
    int number;
    std::unique_ptr<Vnic> nic;
    Random random;
    std::vector<uint8_t> memory;
    std::vector<uint8_t> bad;  // a byte for each bus word: accesses err

    // Memory.
    struct Beat { uint64_t due, address; bool last; };
    std::deque<Beat> reads;
    struct Burst { uint64_t address; uint32_t left; bool failed; };
    std::deque<Burst> writes;
    struct Word { uint8_t bytes[FLIT_BYTES]; uint32_t strobe; bool last; };
    std::deque<Word> early;  // data whose address has not been taken yet
    struct Answer { uint64_t due; int response; };
    std::deque<Answer> answers;
    Held aw, w, ar, bus_b, bus_r;
    uint64_t bytes_read = 0, bytes_written = 0;

    // Register bus.
    std::deque<Access> accesses;
    std::deque<std::pair<int, uint64_t>> results;
    uint32_t unanswered = 0;  // all of them reads, or all of them writes
    bool writing = false;
    bool owed_aw = false, owed_w = false, owed_ar = false;  // of the last access, what is still to be said

    // Inputs that fall after the edge at which they were taken.
    struct { bool r, b, bus_aw, bus_w, bus_ar, input[2]; } drop = {};
    uint64_t held[CHANNELS] = {};  // cycles in which a channel was made to wait

    // Fabric, by class.
    bool silent = false;  // all that leaves is lost
    std::vector<Flit> leaving[2];
    uint64_t leaving_first[2] = {};
    std::deque<Packet> arriving[2];
    size_t arriving_flit[2] = {};
    uint64_t arriving_first[2] = {};
    Held out[2];
    uint64_t quiet_cycles = 0;
    uint32_t reset_cycles = 0;  // for which the NIC is still held in reset

    Node(int number, uint64_t seed) : number(number), nic(new Vnic), random(seed) {}
};

struct Machine {
    Settings settings;
    std::vector<Node> nodes;
    std::vector<Log> log;
    std::vector<uint8_t> log_bytes;
    Random random;
    bool manual = false;  // packets that leave are only logged
    bool tracing = false;
    std::vector<Touch> trace;

    Machine(uint32_t count, const Settings &settings) : settings(settings), random(settings.seed) {
        cycle = 0;
        complaint.clear();
        for (uint32_t number = 0; number < count; number++) {
            nodes.emplace_back(number, settings.seed * 1000 + number + 1);
            nodes.back().memory.resize(settings.memory_bytes);
            nodes.back().bad.resize(settings.memory_bytes / FLIT_BYTES);
        }
        for (Node &node : nodes) {
            node.nic->rst = 1;
            for (int i = 0; i < 4; i++) {
                node.nic->clk = 0;
                node.nic->eval();
                node.nic->clk = 1;
                node.nic->eval();
            }
            node.nic->rst = 0;
            node.nic->clk = 0;
        }
    }

    void record(Node &node, int response, bool received, const std::vector<Flit> &flits, uint64_t first) {
        log.push_back({static_cast<uint32_t>(node.number), static_cast<uint32_t>(response), received,
                       static_cast<uint32_t>(flits.size()), first, cycle});
        for (const Flit &flit : flits) log_bytes.insert(log_bytes.end(), flit.bytes, flit.bytes + FLIT_BYTES);
    }

    void deliver(uint32_t destination, int response, std::vector<Flit> flits) {
        if (destination >= nodes.size()) return;
        auto &queue = nodes[destination].arriving[response];
        queue.push_back({std::move(flits), cycle + 1 + random.below(settings.transit)});
    }

    // ---- reset of one node ----

    // The reset of a node is one for its NIC, its memory's controller and its CPUs: what they owe each other is
    // forgotten, data that memory has taken stay. Memories inside the NIC keep their contents if `powered`. The fabric is
    // not reset: it ends a packet that has left in part where it is, and what has not arrived of one comes when the reset
    // is over.
    void begin_reset(Node &node, uint32_t cycles, bool powered) {
        node.reset_cycles = cycles;
        if (!powered) node.nic.reset(new Vnic);
        node.reads.clear();
        node.writes.clear();
        node.early.clear();
        node.answers.clear();
        node.accesses.clear();
        node.results.clear();
        node.unanswered = 0;
        node.owed_aw = node.owed_w = node.owed_ar = false;
        node.aw = node.w = node.ar = node.bus_b = node.bus_r = Held();
        for (int response = 0; response < 2; response++) {
            node.out[response] = Held();
            end_half_packet(node, response);
            auto &queue = node.arriving[response];
            if (node.arriving_flit[response]) {
                auto &flits = queue.front().flits;
                flits.erase(flits.begin(), flits.begin() + node.arriving_flit[response]);
                node.arriving_flit[response] = 0;
            }
        }
        silence(*node.nic);
        node.nic->rst = 1;
    }

    void end_half_packet(Node &node, int response) {
        auto &flits = node.leaving[response];
        if (flits.empty()) return;
        flits.back().last = true;
        if (!manual) deliver(destination_of(flits), response, flits);
        flits.clear();
    }

    // Nobody offers anything to a NIC in reset, and nobody listens to it.
    static void silence(Vnic &nic) {
        nic.memory__arready = nic.memory__awready = nic.memory__wready = 0;
        nic.memory__rvalid = nic.memory__bvalid = 0;
        nic.bus__awvalid = nic.bus__wvalid = nic.bus__arvalid = 0;
        nic.bus__bready = nic.bus__rready = 0;
        nic.i_requests__valid = nic.i_responses__valid = 0;
        nic.o_requests__ready = nic.o_responses__ready = 0;
    }

    void reset_edge(Node &node) {
        clock(*node.nic);
        if (--node.reset_cycles == 0) node.nic->rst = 0;
    }

    // ---- one clock edge ----

    static void clock(Vnic &nic) {
        nic.clk = 1;
        nic.eval();
        nic.clk = 0;
    }

    static uint32_t destination_of(const std::vector<Flit> &flits) {
        return flits[0].bytes[0] | flits[0].bytes[1] << 8;
    }

    void memory_edge(Node &node) {
        Vnic &nic = *node.nic;
        const int n = node.number;
        const bool ar_taken = nic.memory__arvalid && nic.memory__arready;
        node.ar.judge(nic.memory__arvalid, nic.memory__arready,
                      payload_of(nic.memory__araddr, nic.memory__arlen, nic.memory__arsize, nic.memory__arburst), n,
                      "AR changed before it was taken");
        node.aw.judge(nic.memory__awvalid, nic.memory__awready,
                      payload_of(nic.memory__awaddr, nic.memory__awlen, nic.memory__awsize, nic.memory__awburst), n,
                      "AW changed before it was taken");
        node.w.judge(nic.memory__wvalid, nic.memory__wready,
                     payload_of(nic.memory__wdata, nic.memory__wstrb, nic.memory__wlast), n,
                     "W changed before it was taken");
        if (ar_taken) {
            const uint32_t beats = nic.memory__arlen + 1;
            check_burst(n, nic.memory__araddr, beats, nic.memory__arsize, nic.memory__arburst);
            uint64_t due = cycle + settings.read_latency;
            if (!node.reads.empty() && node.reads.back().due > due) due = node.reads.back().due;
            for (uint32_t i = 0; i < beats; i++)
                node.reads.push_back({due, nic.memory__araddr + i * FLIT_BYTES, i + 1 == beats});
        }
        if (nic.memory__rvalid && nic.memory__rready) {
            node.reads.pop_front();
            node.drop.r = true;
            node.bytes_read += FLIT_BYTES;
        }
        if (nic.memory__awvalid && nic.memory__awready) {
            const uint32_t beats = nic.memory__awlen + 1;
            check_burst(n, nic.memory__awaddr, beats, nic.memory__awsize, nic.memory__awburst);
            node.writes.push_back({nic.memory__awaddr, beats, false});
        }
        if (nic.memory__wvalid && nic.memory__wready) {
            Node::Word word = {{}, static_cast<uint32_t>(nic.memory__wstrb), nic.memory__wlast != 0};
            memcpy(word.bytes, bytes_of(nic.memory__wdata), FLIT_BYTES);
            node.early.push_back(word);
        }
        while (!node.early.empty() && !node.writes.empty()) write_beat(node);
        if (nic.memory__bvalid && nic.memory__bready) {
            node.answers.pop_front();
            node.drop.b = true;
        }
    }

    void check_burst(int n, uint64_t address, uint32_t beats, int size, int type) {
        rule((1 << size) == FLIT_BYTES && type == 1, n, "a burst is not INCR of whole words");
        rule(address % FLIT_BYTES == 0, n, "a burst is not aligned");
        rule(address / 4096 == (address + beats * FLIT_BYTES - 1) / 4096, n, "a burst crosses 4 KiB");
    }

    // Where in memory an address lies; beyond its end if nowhere.
    size_t place_of(const Node &node, uint64_t address) const {
        const uint64_t mirror = ADDRESSES - node.memory.size();
        return settings.mirrored && address >= mirror ? address - mirror : address;
    }

    bool errs(const Node &node, size_t place) const {
        return place + FLIT_BYTES > node.memory.size() || node.bad[place / FLIT_BYTES];
    }

    void write_beat(Node &node) {
        auto &burst = node.writes.front();
        const Node::Word word = node.early.front();
        node.early.pop_front();
        rule(word.last == (burst.left == 1), node.number, "WLAST at the wrong beat");
        const size_t place = place_of(node, burst.address);
        if (errs(node, place)) {
            burst.failed = true;
        } else {
            for (int i = 0; i < FLIT_BYTES; i++)
                if (word.strobe >> i & 1) {
                    node.memory[place + i] = word.bytes[i];
                    node.bytes_written++;
                }
        }
        burst.address += FLIT_BYTES;
        if (--burst.left == 0) {
            node.answers.push_back({cycle + settings.write_latency, burst.failed ? DECERR : OKAY});
            node.writes.pop_front();
        }
    }

    void drive_memory(Node &node) {
        Vnic &nic = *node.nic;
        const uint32_t stall = settings.memory_stall;
        nic.memory__arready = node.reads.size() < 4096 && node.random.goes(stall);
        nic.memory__awready = node.writes.size() < 8 && node.random.goes(stall);
        nic.memory__wready = node.early.size() < EARLY_WORDS && node.random.goes(stall);
        if (!nic.memory__rvalid && !node.reads.empty() && node.reads.front().due <= cycle && node.random.goes(stall)) {
            const auto &beat = node.reads.front();
            uint8_t *data = reinterpret_cast<uint8_t *>(&nic.memory__rdata);
            const size_t place = place_of(node, beat.address);
            if (errs(node, place)) {
                memset(data, 0xEE, FLIT_BYTES);
                nic.memory__rresp = DECERR;
            } else {
                memcpy(data, &node.memory[place], FLIT_BYTES);
                nic.memory__rresp = OKAY;
            }
            nic.memory__rlast = beat.last;
            nic.memory__rvalid = 1;
        }
        if (!nic.memory__bvalid && !node.answers.empty() && node.answers.front().due <= cycle && node.random.goes(stall)) {
            nic.memory__bresp = node.answers.front().response;
            nic.memory__bvalid = 1;
        }
    }

    void bus_edge(Node &node) {
        Vnic &nic = *node.nic;
        node.drop.bus_aw = nic.bus__awvalid && nic.bus__awready;
        node.drop.bus_w = nic.bus__wvalid && nic.bus__wready;
        node.drop.bus_ar = nic.bus__arvalid && nic.bus__arready;
        node.bus_b.judge(nic.bus__bvalid, nic.bus__bready, payload_of(nic.bus__bresp), node.number,
                         "B changed on the register bus before it was taken");
        node.bus_r.judge(nic.bus__rvalid, nic.bus__rready, payload_of(nic.bus__rdata, nic.bus__rresp), node.number,
                         "R changed on the register bus before it was taken");
        const bool written = nic.bus__bvalid && nic.bus__bready, read = nic.bus__rvalid && nic.bus__rready;
        if (written || read) {
            rule(node.unanswered && written == node.writing, node.number, "an answer on the register bus to nothing");
            node.results.emplace_back(written ? nic.bus__bresp : nic.bus__rresp, nic.bus__rdata);
            node.unanswered--;
        }
    }

    // Address and data of a write come in any order.
    void drive_bus(Node &node) {
        Vnic &nic = *node.nic;
        const uint32_t stall = settings.bus_stall;
        nic.bus__bready = node.random.goes(stall);
        nic.bus__rready = node.random.goes(stall);
        if (may_begin_access(node)) begin_access(node);
        const auto say = [&](bool &owed, auto &valid) {
            if (!owed || !node.random.goes(stall)) return;
            owed = false;
            valid = 1;
        };
        say(node.owed_aw, nic.bus__awvalid);
        say(node.owed_w, nic.bus__wvalid);
        say(node.owed_ar, nic.bus__arvalid);
    }

    // One access at a time; a bus that stalls also says the next ones of the same kind before the first is answered.
    bool may_begin_access(const Node &node) const {
        const Vnic &nic = *node.nic;
        if (node.accesses.empty() || node.unanswered == (settings.bus_stall ? UNANSWERED_ACCESSES : 1)) return false;
        const bool said = !(node.owed_aw || node.owed_w || node.owed_ar) &&
                          !(nic.bus__awvalid || nic.bus__wvalid || nic.bus__arvalid);
        return node.unanswered == 0 || (said && node.accesses.front().write == node.writing);
    }

    void begin_access(Node &node) {
        Vnic &nic = *node.nic;
        const Access access = node.accesses.front();
        node.accesses.pop_front();
        node.unanswered++;
        node.writing = access.write;
        if (access.write) {
            nic.bus__awaddr = access.address;
            nic.bus__awprot = access.privileged;
            nic.bus__wdata = access.data;
            nic.bus__wstrb = access.strobe;
            node.owed_aw = node.owed_w = true;
        } else {
            nic.bus__araddr = access.address;
            nic.bus__arprot = access.privileged;
            node.owed_ar = true;
        }
    }

    template <typename Payload>
    void output_edge(Node &node, int response, bool valid, bool ready, const Payload &payload) {
        node.out[response].judge(valid, ready, payload_of(payload), node.number, "o_flits changed before it was taken");
        if (!valid || !ready) return;
        auto &flits = node.leaving[response];
        if (flits.empty()) node.leaving_first[response] = cycle;
        flits.push_back(flit_of(payload));
        if (!flits.back().last) return;
        record(node, response, false, flits, node.leaving_first[response]);
        if (!manual && !loses(node)) deliver(destination_of(flits), response, flits);
        flits.clear();
    }

    bool loses(const Node &node) { return node.silent || (settings.loss && random.below(256) < settings.loss); }

    void input_edge(Node &node, int response, bool valid, bool ready) {
        if (!valid || !ready) return;
        node.drop.input[response] = true;
        auto &queue = node.arriving[response];
        if (node.arriving_flit[response]++ == 0) node.arriving_first[response] = cycle;
        if (node.arriving_flit[response] == queue.front().flits.size()) {
            record(node, response, true, queue.front().flits, node.arriving_first[response]);
            queue.pop_front();
            node.arriving_flit[response] = 0;
        }
    }

    template <typename Valid, typename Payload>
    void drive_input(Node &node, int response, Valid &valid, Payload &payload) {
        auto &queue = node.arriving[response];
        if (valid || queue.empty() || queue.front().due > cycle || !node.random.goes(settings.fabric_stall)) return;
        set_flit(payload, queue.front().flits[node.arriving_flit[response]]);
        valid = 1;
    }

    void note(const Node &node) {
        const Vnic &nic = *node.nic;
        const auto touch = [&](bool happens, Touched touched, uint64_t value) {
            if (happens) trace.push_back({cycle, static_cast<uint32_t>(node.number), touched, value});
        };
        touch(nic.bus__awvalid && nic.bus__awready, BUS_WRITE, nic.bus__awaddr);
        touch(nic.bus__bvalid, BUS_ANSWER, nic.bus__bresp);
        touch(nic.memory__arvalid && nic.memory__arready, READ_ADDRESS, nic.memory__araddr);
        touch(nic.memory__rvalid && nic.memory__rready, READ_DATA, nic.memory__rlast);
        touch(nic.memory__awvalid && nic.memory__awready, WRITE_ADDRESS, nic.memory__awaddr);
        touch(nic.memory__wvalid && nic.memory__wready, WRITE_DATA, nic.memory__wlast);
        touch(nic.memory__bvalid && nic.memory__bready, WRITE_ANSWER, nic.memory__bresp);
    }

    void count_held(Node &node) {
        const Vnic &nic = *node.nic;
        const auto count = [&](Channel channel, bool valid, bool ready) { node.held[channel] += valid && !ready; };
        count(MEMORY_AW, nic.memory__awvalid, nic.memory__awready);
        count(MEMORY_W, nic.memory__wvalid, nic.memory__wready);
        count(MEMORY_B, nic.memory__bvalid, nic.memory__bready);
        count(MEMORY_AR, nic.memory__arvalid, nic.memory__arready);
        count(MEMORY_R, nic.memory__rvalid, nic.memory__rready);
        count(BUS_AW, nic.bus__awvalid, nic.bus__awready);
        count(BUS_W, nic.bus__wvalid, nic.bus__wready);
        count(BUS_B, nic.bus__bvalid, nic.bus__bready);
        count(BUS_AR, nic.bus__arvalid, nic.bus__arready);
        count(BUS_R, nic.bus__rvalid, nic.bus__rready);
        count(O_REQUESTS, nic.o_requests__valid, nic.o_requests__ready);
        count(O_RESPONSES, nic.o_responses__valid, nic.o_responses__ready);
        count(I_REQUESTS, nic.i_requests__valid, nic.i_requests__ready);
        count(I_RESPONSES, nic.i_responses__valid, nic.i_responses__ready);
    }

    // What the edge will do is read off while the clock is low; inputs change after the edge.
    void step() {
        for (Node &node : nodes) {
            Vnic &nic = *node.nic;
            nic.eval();
            node.drop = {};
            if (node.reset_cycles) {
                reset_edge(node);
                continue;
            }
            node.quiet_cycles += nic.quiescent;
            if (tracing) note(node);
            count_held(node);
            memory_edge(node);
            bus_edge(node);
            output_edge(node, 0, nic.o_requests__valid, nic.o_requests__ready, nic.o_requests__payload);
            output_edge(node, 1, nic.o_responses__valid, nic.o_responses__ready, nic.o_responses__payload);
            input_edge(node, 0, nic.i_requests__valid, nic.i_requests__ready);
            input_edge(node, 1, nic.i_responses__valid, nic.i_responses__ready);
            clock(nic);
        }
        cycle++;
        for (Node &node : nodes)
            if (!node.reset_cycles) drive(node);
    }

    void drive(Node &node) {
        Vnic &nic = *node.nic;
        if (node.drop.r) nic.memory__rvalid = 0;
        if (node.drop.b) nic.memory__bvalid = 0;
        if (node.drop.bus_aw) nic.bus__awvalid = 0;
        if (node.drop.bus_w) nic.bus__wvalid = 0;
        if (node.drop.bus_ar) nic.bus__arvalid = 0;
        if (node.drop.input[0]) nic.i_requests__valid = 0;
        if (node.drop.input[1]) nic.i_responses__valid = 0;
        drive_memory(node);
        drive_bus(node);
        drive_input(node, 0, nic.i_requests__valid, nic.i_requests__payload);
        drive_input(node, 1, nic.i_responses__valid, nic.i_responses__payload);
        nic.o_requests__ready = node.random.goes(settings.fabric_stall);
        nic.o_responses__ready = node.random.goes(settings.fabric_stall);
        nic.time = cycle;
    }

    // Nothing is on its way: no NIC would change, no memory or fabric owes anything.
    bool still() {
        for (Node &node : nodes) {
            node.nic->eval();
            if (node.reset_cycles || !node.nic->quiescent || node.unanswered || !node.accesses.empty()) return false;
            if (!node.reads.empty() || !node.writes.empty() || !node.early.empty() || !node.answers.empty()) return false;
            for (int response = 0; response < 2; response++)
                if (!node.arriving[response].empty() || !node.leaving[response].empty()) return false;
        }
        return true;
    }
};

}  // namespace

extern "C" {

Machine *machine_new(uint32_t nodes, const Settings *settings) { return new Machine(nodes, *settings); }
void machine_free(Machine *machine) { delete machine; }
void machine_set(Machine *machine, const Settings *settings) { machine->settings = *settings; }
void machine_manual(Machine *machine, int manual) { machine->manual = manual; }

// All packets that leave a node are lost from now on, or no more.
void node_silence(Machine *machine, uint32_t node, int on) { machine->nodes[node].silent = on; }

// From now on, all handshakes are kept, or none any more; `machine_touches` gives those kept since tracing was begun.
void machine_trace(Machine *machine, int on) {
    machine->tracing = on;
    if (on) machine->trace.clear();
}
uint32_t machine_touches(Machine *machine, const Touch **trace) {
    *trace = machine->trace.data();
    return static_cast<uint32_t>(machine->trace.size());
}

// Steps `cycles` or, if `until_still`, until nothing is on its way; returns the cycles done.
uint64_t machine_run(Machine *machine, uint64_t cycles, int until_still) {
    uint64_t done = 0;
    for (; done < cycles && complaint.empty(); done++) {
        if (until_still && machine->still()) break;
        machine->step();
    }
    return done;
}
uint64_t machine_cycle(Machine *) { return cycle; }
// Cycles in which each Channel of any node was made to wait.
void machine_held(Machine *machine, uint64_t *counts) {
    for (int channel = 0; channel < CHANNELS; channel++) {
        counts[channel] = 0;
        for (const Node &node : machine->nodes) counts[channel] += node.held[channel];
    }
}
const char *machine_complaint(Machine *) { return complaint.c_str(); }

uint8_t *node_memory(Machine *machine, uint32_t node) { return machine->nodes[node].memory.data(); }
uint8_t *node_bad(Machine *machine, uint32_t node) { return machine->nodes[node].bad.data(); }
// Holds the reset of a node's NIC for so many cycles from now on, whatever is on its way; see `begin_reset`.
void node_reset(Machine *machine, uint32_t node, uint32_t cycles, int powered) {
    machine->begin_reset(machine->nodes[node], cycles, powered);
}
uint64_t node_interrupts(Machine *machine, uint32_t node) { return machine->nodes[node].nic->interrupts; }
int node_quiescent(Machine *machine, uint32_t node) { return machine->nodes[node].nic->quiescent; }

void node_access(Machine *machine, uint32_t node, uint32_t address, int write, int privileged, uint64_t data, int strobe) {
    machine->nodes[node].accesses.push_back(
        {address, write != 0, privileged != 0, data, static_cast<uint8_t>(strobe)});
}
// Whether the oldest access has been answered; then its response and data.
int node_result(Machine *machine, uint32_t node, int *response, uint64_t *data) {
    auto &results = machine->nodes[node].results;
    if (results.empty()) return 0;
    *response = results.front().first;
    *data = results.front().second;
    results.pop_front();
    return 1;
}

// A packet of `flits` arrives at `node`.
void node_inject(Machine *machine, uint32_t node, int response, const uint8_t *bytes, uint32_t flits) {
    std::vector<Flit> packet(flits);
    for (uint32_t i = 0; i < flits; i++) {
        memcpy(packet[i].bytes, bytes + i * FLIT_BYTES, FLIT_BYTES);
        packet[i].last = i + 1 == flits;
    }
    machine->deliver(node, response, std::move(packet));
}

// The packets seen so far, in order: `Log` entries and their flits side by side; taken off by `machine_forget`.
uint32_t machine_packets(Machine *machine, const Log **log, const uint8_t **bytes) {
    *log = machine->log.data();
    *bytes = machine->log_bytes.data();
    return static_cast<uint32_t>(machine->log.size());
}
void machine_forget(Machine *machine) {
    machine->log.clear();
    machine->log_bytes.clear();
}
}
