// Macros of other headers with their definitions, for inclusion before a header of plait, which
// compiles nevertheless and leaves them unchanged.
#pragma GCC system_header  // no warnings

// windows.h without NOMINMAX, rpcndr.h, math.h, and what MFC makes of new
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define near
#define far
#define huge
#define small char
#define hyper __int64
#define interface struct
#define new new (__FILE__, __LINE__)
#define IN
#define OUT
#define OPTIONAL
#define CONST const
#define VOID void
#define TRUE 1
#define FALSE 0
#define ERROR 0
#define DELETE 0x00010000L
#define DOMAIN 1
#define OVERFLOW 3
#define UNDERFLOW 4

// Qt without QT_NO_KEYWORDS
#define slots
#define signals public
#define emit
#define foreach for
#define forever for (;;)

// C: complex.h, sys/sysmacros.h, stdnoreturn.h, termios.h, sys/param.h; and what compilers define
// without -std=c++20
#define complex _Complex
#define imaginary _Imaginary
#define I _Complex_I
#define major(device) gnu_dev_major(device)
#define minor(device) gnu_dev_minor(device)
#define makedev(major, minor) gnu_dev_makedev(major, minor)
#define noreturn _Noreturn
#define B0 0000000
#define MIN(a, b) (((a) < (b)) ? (a) : (b))
#define MAX(a, b) (((a) > (b)) ? (a) : (b))
#undef linux
#undef unix
#define linux 1
#define unix 1

// macOS: AssertMacros.h
#define check(assertion) \
  do {                   \
  } while (0)
#define verify(assertion) \
  do {                    \
  } while (0)
#define require(assertion, label) \
  do {                            \
    if (!(assertion)) goto label; \
  } while (0)

// X11
#define None 0L
#define Bool int
#define Status int
#define Success 0
#define Always 2
#define True 1
#define False 0
#define Complex 0
#define Cursor 0
#define Above 0
#define Below 1

// Arduino
#define F(text) (text)
#define PI 3.1415926535897932384626433832795
#define abs(x) ((x) > 0 ? (x) : -(x))
#define round(x) ((x) >= 0 ? (long)((x) + 0.5) : (long)((x)-0.5))
#define bit(b) (1UL << (b))
#define constrain(x, low, high) ((x) < (low) ? (low) : (x) > (high) ? (high) : (x))
#define radians(degrees) ((degrees)*0.0174532925)
#define square(x) ((x) * (x))

// loggers, test frameworks, kernels' compilers, and one-letter constants
#define CHECK(x) (void)(x)
#define ASSERT(x) (void)(x)
#define LOG(level) cerr
#define DEBUG 1
#define TRACE(x)
#define INFO(x)
#define WARNING 2
#define ABS(x) ((x) < 0 ? -(x) : (x))
#define OK 0
#define ERR (-1)
#define aligned __attribute__((aligned))
#define packed __attribute__((packed))
#define pure __attribute__((pure))
#define unused __attribute__((unused))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define A 0
#define B 1
#define C 2
#define D 3
#define E 4
#define G 6
#define H 7
#define J 9
#define K 10
#define L 11
#define M 12
#define N 13
#define O 14
#define P 15
#define Q 16
#define R 17
#define S 18
#define T 19
#define U 20
#define V 21
#define W 22
#define X 23
#define Y 24
#define Z 25
