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
/// Debug builds of Swift keep the accesses to variables that are under way in a list of the thread. These move those of a fiber out of the list while it
/// waits, into two words that are zero at first, as Swift's own tasks do.
extern void auspex_swift_enter(char *state) __asm__("swift_task_enterThreadLocalContext") __attribute__((weak));
extern void auspex_swift_exit(char *state) __asm__("swift_task_exitThreadLocalContext") __attribute__((weak));
static inline void auspex_accesses_enter(void *state) {
    if (auspex_swift_enter) auspex_swift_enter((char *)state);
}
static inline void auspex_accesses_leave(void *state) {
    if (auspex_swift_exit) auspex_swift_exit((char *)state);
}

static inline void auspex_fiber_set_current(void *fiber) { auspex_fiber_running = fiber; }
