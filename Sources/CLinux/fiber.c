#include "fiber.h"

#include <stddef.h>
#include <stdint.h>

__thread void *auspex_fiber_running;

void auspex_fiber_start(void);

#if defined(__x86_64__)

// The System V ABI: rbx, rbp and r12 to r15 belong to the caller of a function, everything else may be lost in a call.
__asm__(".text\n"
        ".globl auspex_fiber_switch\n"
        ".type auspex_fiber_switch,@function\n"
        ".p2align 4\n"
        "auspex_fiber_switch:\n"
        "  pushq %rbp\n"
        "  pushq %rbx\n"
        "  pushq %r12\n"
        "  pushq %r13\n"
        "  pushq %r14\n"
        "  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "1:\n"
        "  popq %r15\n"
        "  popq %r14\n"
        "  popq %r13\n"
        "  popq %r12\n"
        "  popq %rbx\n"
        "  popq %rbp\n"
        // Not `ret`: the processor would predict that this goes back to the caller.
        "  popq %rcx\n"
        "  jmpq *%rcx\n"
        ".size auspex_fiber_switch,.-auspex_fiber_switch\n"
        // The first thing on a new stack: calls entry(argument), then goes on with the stack pointer it returns.
        ".globl auspex_fiber_start\n"
        ".type auspex_fiber_start,@function\n"
        ".p2align 4\n"
        "auspex_fiber_start:\n"
        "  .cfi_startproc\n"
        "  .cfi_undefined rip\n"
        "  movq %r12, %rdi\n"
        "  callq *%rbx\n"
        "  movq %rax, %rsp\n"
        "  jmp 1b\n"
        "  .cfi_endproc\n"
        ".size auspex_fiber_start,.-auspex_fiber_start\n");

void *auspex_fiber_prepare(void *top, auspex_fiber_entry *entry, void *argument) {
    uintptr_t *stack = top;
    *--stack = (uintptr_t)auspex_fiber_start;
    *--stack = 0;                    // rbp: the end of the chain of frames
    *--stack = (uintptr_t)entry;     // rbx
    *--stack = (uintptr_t)argument;  // r12
    *--stack = 0;
    *--stack = 0;
    *--stack = 0;
    return stack;
}

#elif defined(__aarch64__)

// The AArch64 procedure call standard: x19 to x29, the link register and the lower halves of v8 to v15.
__asm__(".text\n"
        ".globl auspex_fiber_switch\n"
        ".type auspex_fiber_switch,@function\n"
        ".p2align 4\n"
        "auspex_fiber_switch:\n"
        "  sub sp, sp, #160\n"
        "  stp x19, x20, [sp, #0]\n"
        "  stp x21, x22, [sp, #16]\n"
        "  stp x23, x24, [sp, #32]\n"
        "  stp x25, x26, [sp, #48]\n"
        "  stp x27, x28, [sp, #64]\n"
        "  stp x29, x30, [sp, #80]\n"
        "  stp d8, d9, [sp, #96]\n"
        "  stp d10, d11, [sp, #112]\n"
        "  stp d12, d13, [sp, #128]\n"
        "  stp d14, d15, [sp, #144]\n"
        "  mov x9, sp\n"
        "  str x9, [x0]\n"
        "  mov sp, x1\n"
        "1:\n"
        "  ldp x19, x20, [sp, #0]\n"
        "  ldp x21, x22, [sp, #16]\n"
        "  ldp x23, x24, [sp, #32]\n"
        "  ldp x25, x26, [sp, #48]\n"
        "  ldp x27, x28, [sp, #64]\n"
        "  ldp x29, x30, [sp, #80]\n"
        "  ldp d8, d9, [sp, #96]\n"
        "  ldp d10, d11, [sp, #112]\n"
        "  ldp d12, d13, [sp, #128]\n"
        "  ldp d14, d15, [sp, #144]\n"
        "  add sp, sp, #160\n"
        "  br x30\n"
        ".size auspex_fiber_switch,.-auspex_fiber_switch\n"
        ".globl auspex_fiber_start\n"
        ".type auspex_fiber_start,@function\n"
        ".p2align 4\n"
        "auspex_fiber_start:\n"
        "  .cfi_startproc\n"
        "  .cfi_undefined x30\n"
        "  mov x0, x20\n"
        "  blr x19\n"
        "  mov sp, x0\n"
        "  b 1b\n"
        "  .cfi_endproc\n"
        ".size auspex_fiber_start,.-auspex_fiber_start\n");

void *auspex_fiber_prepare(void *top, auspex_fiber_entry *entry, void *argument) {
    uintptr_t *stack = (uintptr_t *)top - 20;
    for (int index = 0; index < 20; index++) stack[index] = 0;
    stack[0] = (uintptr_t)entry;                // x19
    stack[1] = (uintptr_t)argument;             // x20
    stack[11] = (uintptr_t)auspex_fiber_start;  // x30
    return stack;
}

#else
#error "fibers know x86-64 and AArch64 only; add the switch for this processor"
#endif
