/* Functions by address: a constant table, a variable one, a function given as an argument, a service by address. */
typedef unsigned long u64;
typedef u64 (*operation)(u64, u64);

u64 wake(u64 process);

static u64 add(u64 a, u64 b) { return a + b; }
static u64 multiply(u64 a, u64 b) { return a * b; }
__attribute__((section("second"))) u64 subtract(u64 a, u64 b) { return a - b; }

static const operation constants[3] = {add, multiply, subtract};
operation variable[2] = {multiply, add};

static __attribute__((noinline)) u64 twice(operation f, u64 a, u64 b) { return f(f(a, b), b); }

u64 choose(u64 which, u64 a, u64 b) { return constants[which](a, b); }

u64 exchange(u64 a, u64 b) {
    operation first = variable[0];
    variable[0] = variable[1];
    variable[1] = first;
    return variable[0](a, b); /* the first time the sum, then the product, then the sum */
}

u64 passed(u64 which, u64 a, u64 b) { return twice(which ? subtract : add, a, b); }

u64 service(u64 which, u64 a) {
    u64 (*volatile call)(u64) = wake;
    return call(a) + which;
}
