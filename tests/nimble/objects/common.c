/* A tentative definition, with -fcommon: refused. */
unsigned long total;

unsigned long add(unsigned long x) { return total += x; }
