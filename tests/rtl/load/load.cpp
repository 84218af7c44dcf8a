// load PACKETS LONGEST STALL ANSWERS PAUSES GATED UPWARDS ONE_GROUP SEED
//
// A fabric as it is in a machine: a station at each node, behind a gate of its own, and the joints between them. With
// UPWARDS all nodes that have two shortest ways in a closed dimension take the same one; see model.py for ONE_GROUP.
//
// Nodes that send as much as the fabric takes, and judge all that arrives by the packets alone: they know no routes.
// Each sends PACKETS requests of 1 to LONGEST flits to nodes at random, itself among them. With ANSWERS it answers each
// request that arrives with a response, and takes no request while responses are waiting to leave; without, it sends
// as many responses as requests, which nobody has asked for. A sink waits in a cycle with a chance of STALL in 256.
// With PAUSES all sinks are shut when a quarter of all packets have arrived, until the fabric stands still; and when
// half have, those of requests, until no response is under way.
//
// Prints one line of JSON. "outcome": "arrived" if every packet came once, whole, in order among those of its source,
// destination and class, where it should; "locked" if nothing moved for PATIENCE cycles while sinks were open again and
// again; otherwise what was wrong.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "Vfabric.h"
#include "Vstation.h"
#include "verilated.h"

namespace {

constexpr int CLASSES = 2, REQUEST = 0, RESPONSE = 1;
constexpr unsigned DATA_BITS = 64;
constexpr uint64_t PATIENCE = 3000;
enum Phase { BEGINNING, SHUT, MIDDLE, REQUESTS_SHUT, ENDING };

// `width` bits of a port, from bit `start` on, to bit `at` of another: ports are rows of bits, the lowest first.
template <typename To, typename From>
void carry(To &to, unsigned at, const From &from, unsigned start, unsigned width) {
    auto *target = reinterpret_cast<uint8_t *>(&to);
    const auto *source = reinterpret_cast<const uint8_t *>(&from);
    for (unsigned done = 0, count; done < width; done += count, at += count, start += count) {
        count = std::min({width - done, 8 - at % 8, 8 - start % 8});
        const unsigned mask = (1u << count) - 1, bits = source[start / 8] >> start % 8 & mask;
        target[at / 8] = static_cast<uint8_t>((target[at / 8] & ~(mask << at % 8)) | bits << at % 8);
    }
}

// Ref: SplitMix64, G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators" (2014).
uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

struct Random {
    uint64_t state;
    uint64_t next() { return mixed(state += 0x9e3779b97f4a7c15ull); }
    unsigned below(unsigned bound) { return static_cast<unsigned>((next() >> 32) * bound >> 32); }
};

// The first flit says all about a packet, the destination where routers expect it; the others follow from it and look
// like any destination.
struct Packet {
    uint64_t head;
    unsigned destination() const { return head & 0xffff; }
    unsigned source() const { return head >> 16 & 0xff; }
    unsigned packet_class() const { return head >> 24 & 1; }
    unsigned length() const { return head >> 25 & 0x7f; }
    unsigned number() const { return static_cast<unsigned>(head >> 32); }
    uint64_t flit(unsigned index) const { return index ? mixed(head * 128 + index) : head; }
};

struct Source {
    std::deque<Packet> queue;
    unsigned sent = 0;  // flits of the first packet
};

struct Sink {
    Packet packet{};
    unsigned taken = 0;  // flits of the packet that is coming
    bool waiting = false;  // a flit was shown and not taken
    uint64_t shown_data = 0;
    bool shown_last = false;
};

using Flow = std::tuple<unsigned, unsigned, unsigned>;  // source, destination, class

class Load {
public:
    explicit Load(char **arguments) {
        unsigned *settings[] = {&packets, &longest, &stall, &answers, &pauses, &gated, &upwards, &one_group};
        for (unsigned *setting : settings) *setting = static_cast<unsigned>(atol(*++arguments));
        random.state = strtoull(*++arguments, nullptr, 10);
        total = 2ull * NODES * packets;
        for (unsigned node = 0; node < NODES; node++)
            for (unsigned number = 0; number < packets; number++) {
                send(node, random.below(NODES), REQUEST);
                if (!answers) send(node, random.below(NODES), RESPONSE);
            }
    }

    void run() {
        reset();
        while (outcome.empty()) cycle();
        printf(
            "{\"outcome\": \"%s\", \"cycles\": %llu, \"packets\": %llu, \"flits\": %llu, \"steady_cycles\": %llu, "
            "\"steady_flits\": %llu, \"stood_still\": %d, \"responses_alone\": %llu, \"quiescent\": %d}\n",
            outcome.c_str(), (unsigned long long)now, (unsigned long long)arrived, (unsigned long long)flits,
            (unsigned long long)steady_cycles, (unsigned long long)steady_flits, stood_still,
            (unsigned long long)responses_alone, is_quiescent()
        );
    }

private:
    unsigned packets, longest, stall, answers, pauses, gated, upwards, one_group;
    Random random{};
    std::unique_ptr<Vstation> stations[NODES];
    std::unique_ptr<Vfabric> fabric = std::make_unique<Vfabric>();
    Source sources[NODES * CLASSES];  // number node * CLASSES + class
    Sink sinks[NODES * CLASSES];
    std::map<Flow, unsigned> begun, ended;
    uint64_t total, arrived = 0, flits = 0, now = 0, moved = 0;
    uint64_t responses_due = 0, responses_alone = 0;  // not arrived yet; arrived while no request was taken
    uint64_t steady_from = 0, steady_cycles = 0, steady_flits = 0;  // between the first and the last quarter
    bool stood_still = false;
    Phase phase = BEGINNING;
    std::string outcome;

    void send(unsigned source, unsigned destination, unsigned packet_class) {
        const uint64_t number = begun[{source, destination, packet_class}]++;
        const uint64_t length = 1 + random.below(longest);
        sources[source * CLASSES + packet_class].queue.push_back(
            {destination | source << 16 | packet_class << 24 | length << 25 | number << 32}
        );
        responses_due += packet_class == RESPONSE;
    }

    void rule(bool kept, unsigned index, const char *text) {
        if (kept || !outcome.empty()) return;
        outcome = "node " + std::to_string(index / CLASSES) + ", class " + std::to_string(index % CLASSES) +
                  ", cycle " + std::to_string(now) + ": " + text;
    }

    void reset() {
        for (unsigned node = 0; node < NODES; node++) stations[node] = std::make_unique<Vstation>();
        fabric->eval();
        for (unsigned node = 0; node < NODES; node++) {
            Vstation &station = *stations[node];
            carry(station.bases, 0, fabric->bases, node * DIMENSIONS * 16, DIMENSIONS * 16);
            carry(station.ties, 0, fabric->ties, node * DIMENSIONS, DIMENSIONS);
            if (upwards) station.ties = (1 << DIMENSIONS) - 1;
            station.one_group = one_group;
            station.rst = 1;
        }
        for (int cycles = 0; cycles < 8; cycles++) {
            fall();
            rise();
        }
        for (auto &station : stations) station->rst = 0;
    }

    void cycle() {
        for (unsigned index = 0; index < NODES * CLASSES; index++) {
            offer(index);
            take(index);
        }
        fall();
        for (unsigned index = 0; index < NODES * CLASSES; index++) {
            leave(index);
            arrive(index);
        }
        turn();
        rise();
        now++;
    }

    // All inputs have come to where they matter: gates decide.
    void fall() {
        for (auto &station : stations) {
            station->clk = 0;
            station->eval();
        }
    }

    void rise() {
        for (auto &station : stations)
            if (station->rst || !gated || !station->quiescent) {
                station->clk = 1;
                station->eval();
            }
        join();
    }

    // Verilator spells two underscores as ___05F.
    void join() {
        constexpr unsigned CHANNEL = LINKS * CHANNEL_BITS, FLIT = LINKS * (DATA_BITS + 1), CREDIT = LINKS * CHANNELS;
        for (unsigned node = 0; node < NODES; node++) {
            const Vstation &station = *stations[node];
            carry(fabric->o_link_valid, node * LINKS, station.o_link___05Fvalid, 0, LINKS);
            carry(fabric->o_link_channel, node * CHANNEL, station.o_link___05Fchannel, 0, CHANNEL);
            carry(fabric->o_link_flit, node * FLIT, station.o_link___05Fflit, 0, FLIT);
            carry(fabric->i_link_credit, node * CREDIT, station.i_link___05Fcredit, 0, CREDIT);
        }
        fabric->eval();
        for (unsigned node = 0; node < NODES; node++) {
            Vstation &station = *stations[node];
            carry(station.i_link___05Fvalid, 0, fabric->i_link_valid, node * LINKS, LINKS);
            carry(station.i_link___05Fchannel, 0, fabric->i_link_channel, node * CHANNEL, CHANNEL);
            carry(station.i_link___05Fflit, 0, fabric->i_link_flit, node * FLIT, FLIT);
            carry(station.o_link___05Fcredit, 0, fabric->o_link_credit, node * CREDIT, CREDIT);
        }
    }

    bool is_open(unsigned index) {
        if (index % CLASSES == RESPONSE) return phase != SHUT;
        return phase != SHUT && phase != REQUESTS_SHUT && (!answers || sources[index + 1].queue.empty());
    }

    void offer(unsigned index) {
        Vstation &station = *stations[index / CLASSES];
        const unsigned packet_class = index % CLASSES;
        const Source &source = sources[index];
        const bool valid = !source.queue.empty();
        carry(station.i_valid, packet_class, valid, 0, 1);
        if (!valid) return;
        const Packet &packet = source.queue.front();
        const uint64_t data = packet.flit(source.sent);
        const bool last = source.sent + 1 == packet.length();
        carry(station.i_data, packet_class * DATA_BITS, data, 0, DATA_BITS);
        carry(station.i_last, packet_class, last, 0, 1);
    }

    void take(unsigned index) {
        const bool ready = is_open(index) && random.below(256) >= stall;
        carry(stations[index / CLASSES]->o_ready, index % CLASSES, ready, 0, 1);
    }

    bool is_quiescent() const {
        return std::all_of(std::begin(stations), std::end(stations), [](auto &station) { return station->quiescent; });
    }

    bool bit(unsigned bits, unsigned index) const { return bits >> index % CLASSES & 1; }

    void leave(unsigned index) {
        const Vstation &station = *stations[index / CLASSES];
        if (!bit(station.i_valid & station.i_ready, index)) return;
        Source &source = sources[index];
        moved = now;
        if (++source.sent < source.queue.front().length()) return;
        source.queue.pop_front();
        source.sent = 0;
    }

    void arrive(unsigned index) {
        const Vstation &station = *stations[index / CLASSES];
        Sink &sink = sinks[index];
        const bool valid = bit(station.o_valid, index), last = bit(station.o_last, index);
        uint64_t data = 0;
        carry(data, 0, station.o_data, index % CLASSES * DATA_BITS, DATA_BITS);
        rule(!sink.waiting || valid, index, "a flit was withdrawn before it was taken");
        rule(!sink.waiting || (data == sink.shown_data && last == sink.shown_last), index, "a flit changed");
        sink.waiting = valid && !bit(station.o_ready, index);
        sink.shown_data = data;
        sink.shown_last = last;
        if (!valid || sink.waiting) return;
        moved = now;
        flits++;
        if (sink.taken == 0) begin(index, data);
        rule(data == sink.packet.flit(sink.taken), index, "a flit is not the one that was sent");
        sink.taken++;
        rule(last == (sink.taken == sink.packet.length()), index, "the last flit is not the last one");
        if (last) end(index);
    }

    void begin(unsigned index, uint64_t head) {
        const Packet packet = sinks[index].packet = {head};
        rule(packet.destination() == index / CLASSES, index, "a packet for another node");
        rule(packet.packet_class() == index % CLASSES, index, "a packet of the other class");
        const Flow flow{packet.source(), packet.destination(), packet.packet_class()};
        rule(packet.number() == ended[flow]++, index, "a packet is lost, doubled or out of order");
    }

    void end(unsigned index) {
        const Packet packet = sinks[index].packet;
        sinks[index].taken = 0;
        arrived++;
        if (packet.packet_class() == RESPONSE) {
            responses_due--;
            responses_alone += phase == REQUESTS_SHUT;
        } else if (answers)
            send(index / CLASSES, packet.source(), RESPONSE);
    }

    // Goes on to the next phase, and ends the run.
    void turn() {
        if (arrived >= total / 4 && !steady_from) steady_from = now, steady_flits = flits;
        if (arrived >= total - total / 4 && !steady_cycles) {
            steady_cycles = now - steady_from;
            steady_flits = flits - steady_flits;
        }
        const bool still = is_quiescent();
        if (phase == BEGINNING && arrived >= total / 4) phase = pauses ? SHUT : ENDING;
        else if (phase == SHUT && still) phase = MIDDLE, stood_still = true, moved = now;
        else if (phase == MIDDLE && arrived >= total / 2) phase = REQUESTS_SHUT;
        else if (phase == REQUESTS_SHUT && responses_due == 0) phase = ENDING, moved = now;
        if (now - moved > PATIENCE && outcome.empty()) outcome = phase == SHUT ? "never still" : "locked";
        if (arrived < total || !still) return;
        for (unsigned node = 0; node < NODES; node++)
            rule(stations[node]->dropped == 0, node * CLASSES, "a packet was dropped");
        if (outcome.empty()) outcome = begun == ended ? "arrived" : "packets of a flow are missing";
    }
};

}  // namespace

int main(int argc, char **argv) {
    if (argc != 10) return fprintf(stderr, "load: see load.cpp\n"), 2;
    Load(argv).run();
}
