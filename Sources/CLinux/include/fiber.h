#pragma once
// Switching between stacks on one thread. See Sources/Platform/Fibers.

/// The code of a fiber. It returns the stack pointer of the code to go on with, as auspex_fiber_switch stored it.
typedef void *auspex_fiber_entry(void *argument);

/// Prepares a new stack.
/// - top: the end of the stack, aligned to 16 bytes.
/// Returns the stack pointer to hand to auspex_fiber_switch, which then calls `entry`.
void *auspex_fiber_prepare(void *top, auspex_fiber_entry *entry, void *argument);

/// Pushes the callee-saved registers, stores the stack pointer in `*from`, and goes on with the code that left `to`. Returns when another switch
/// goes on with `*from`. The signal mask and the floating-point control words are not touched: no code here changes them.
void auspex_fiber_switch(void **from, void *to);

/// The fiber whose code runs on this thread; null on a thread's own stack.
extern __thread void *auspex_fiber_running;
static inline void *auspex_fiber_current(void) { return auspex_fiber_running; }
static inline void auspex_fiber_set_current(void *fiber) { auspex_fiber_running = fiber; }
