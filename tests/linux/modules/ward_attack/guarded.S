/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Accesses and instructions that may fault. Interrupts are masked and the vectors are ours while
 * they run; the handler steps over the instruction and leaves the ESR in x16.
 */
#include <linux/linkage.h>
#include <asm/assembler.h>

	.text
	.balign	2048
SYM_CODE_START_LOCAL(vectors)
	.rept	4
	.balign	128
	b	.
	.endr
	.balign	128		/* synchronous, from here */
	mrs	x17, elr_el1
	add	x17, x17, #4
	msr	elr_el1, x17
	mrs	x16, esr_el1
	eret
	.rept	11
	.balign	128
	b	.
	.endr
SYM_CODE_END(vectors)

	.macro	guard
	mrs	x5, vbar_el1
	mrs	x6, daif
	msr	daifset, #0xf
	adr_l	x7, vectors
	msr	vbar_el1, x7
	isb
	mov	x16, #0
	.endm

	.macro	unguard
	dsb	sy
	isb
	msr	vbar_el1, x5
	isb
	msr	daif, x6
	mov	x0, x16
	.endm

SYM_FUNC_START(guarded_load)
	guard
	mov	x4, #0
	ldr	x4, [x0]
	unguard
	str	x4, [x1]
	ret
SYM_FUNC_END(guarded_load)

SYM_FUNC_START(guarded_store)
	guard
	str	x1, [x0]
	unguard
	ret
SYM_FUNC_END(guarded_store)

SYM_FUNC_START(guarded_fill)
	guard
	mov	x4, #512
1:	str	x1, [x0], #8
	cbnz	x16, 2f
	subs	x4, x4, #1
	b.ne	1b
2:	unguard
	ret
SYM_FUNC_END(guarded_fill)

SYM_FUNC_START(guarded_or)
	guard
	mov	x4, #512
	mov	x3, #0
1:	mov	x2, #0
	ldr	x2, [x0], #8
	cbnz	x16, 2f
	orr	x3, x3, x2
	subs	x4, x4, #1
	b.ne	1b
2:	unguard
	str	x3, [x1]
	ret
SYM_FUNC_END(guarded_or)

SYM_FUNC_START(guarded_copy)
	guard
	mov	x4, #512
1:	ldr	x2, [x1], #8
	str	x2, [x0], #8
	cbnz	x16, 2f
	subs	x4, x4, #1
	b.ne	1b
2:	unguard
	ret
SYM_FUNC_END(guarded_copy)

/* x0: which, x1: its x0, x2: where its x0 goes after it */
SYM_FUNC_START(guarded_execute)
	stp	x29, x30, [sp, #-32]!
	mov	x29, sp
	str	x2, [sp, #16]
	adr_l	x3, undefined
	add	x3, x3, x0, lsl #4
	mov	x0, x1
	guard
	blr	x3
	mov	x4, x0
	unguard
	ldr	x2, [sp, #16]
	str	x4, [x2]
	ldp	x29, x30, [sp], #32
	ret
SYM_FUNC_END(guarded_execute)

	.macro	exchange instruction
	ldp	x6, x7, [x19, #48]
	ldp	x4, x5, [x19, #32]
	ldp	x2, x3, [x19, #16]
	ldp	x0, x1, [x19]
	\instruction
	stp	x0, x1, [x19]
	stp	x2, x3, [x19, #16]
	stp	x4, x5, [x19, #32]
	stp	x6, x7, [x19, #48]
	.endm

	.macro	raw name, instruction
SYM_FUNC_START(\name)
	stp	x29, x30, [sp, #-32]!
	mov	x29, sp
	str	x19, [sp, #16]
	mov	x19, x0
	exchange "\instruction"
	ldr	x19, [sp, #16]
	ldp	x29, x30, [sp], #32
	ret
SYM_FUNC_END(\name)
	.endm

	raw	raw_hvc, "hvc #0"
	raw	raw_hvc_1, "hvc #1"
	raw	raw_hvc_ffff, "hvc #0xffff"
	raw	raw_smc, "smc #0"
	raw	raw_smc_1, "smc #1"

/* A first call where nobody may answer it. */
SYM_FUNC_START(guarded_hvc)
	stp	x29, x30, [sp, #-48]!
	mov	x29, sp
	stp	x19, x20, [sp, #16]
	str	x21, [sp, #32]
	mov	x19, x0
	guard
	mov	x20, x5
	mov	x21, x6
	exchange "hvc #0"
	mov	x5, x20
	mov	x6, x21
	unguard
	ldr	x21, [sp, #32]
	ldp	x19, x20, [sp, #16]
	ldp	x29, x30, [sp], #48
	ret
SYM_FUNC_END(guarded_hvc)

/*
 * What EL1 may not do (DDI 0487 C5.2, D24.2) and must find undefined, 16 bytes each; from
 * `others` on, what Ward may answer or refuse.
 */
	.macro	try instruction
	hint	#34		/* BTI c: the call is indirect */
	\instruction
	ret
	nop
	.endm

	.balign	16
SYM_CODE_START_LOCAL(undefined)
	try	"mrs x0, s3_4_c1_c1_0"	/* HCR_EL2 */
	try	"msr s3_4_c1_c1_0, x0"
	try	"mrs x0, s3_4_c2_c1_0"	/* VTTBR_EL2 */
	try	"msr s3_4_c2_c1_0, x0"
	try	"mrs x0, s3_4_c2_c1_2"	/* VTCR_EL2 */
	try	"mrs x0, s3_4_c12_c0_0"	/* VBAR_EL2 */
	try	"msr s3_4_c12_c0_0, x0"
	try	"mrs x0, s3_4_c1_c0_0"	/* SCTLR_EL2 */
	try	"msr s3_4_c1_c0_0, x0"
	try	"mrs x0, s3_4_c2_c0_0"	/* TTBR0_EL2 */
	try	"mrs x0, s3_4_c4_c1_0"	/* SP_EL1, with EL2 */
	try	"mrs x0, s3_4_c14_c0_3"	/* CNTVOFF_EL2 */
	try	"msr s3_4_c14_c0_3, x0"
	try	"mrs x0, s3_4_c14_c1_0"	/* CNTHCTL_EL2 */
	try	"mrs x0, s3_4_c12_c11_0" /* ICH_HCR_EL2 */
	try	"msr s3_4_c12_c11_0, x0"
	try	"mrs x0, s3_4_c12_c9_5"	/* ICC_SRE_EL2 */
	try	"msr s3_4_c12_c9_5, x0"
	try	"mrs x0, s3_4_c12_c12_0" /* ICH_LR0_EL2 */
	try	"mrs x0, s3_6_c1_c1_0"	/* SCR_EL3 */
	try	"mrs x0, s3_5_c1_c0_0"	/* SCTLR_EL12 */
	try	".inst 0xd50c879f"	/* TLBI ALLE1 */
	try	".inst 0xd50c87df"	/* TLBI VMALLS12E1 */
	try	".inst 0xd50c871f"	/* TLBI ALLE2 */
	try	".inst 0xd50c7880"	/* AT S12E1R */
	try	"mrs x0, s3_0_c9_c9_0"	/* PMSCR_EL1: profiling */
	try	"mrs x0, s3_0_c9_c11_0"	/* TRBLIMITR_EL1: trace */
others:
	try	"mrs x0, s3_0_c10_c4_3"	/* LORC_EL1 */
	try	"msr s3_0_c10_c4_0, x0"	/* LORSA_EL1 */
	try	"mrs x0, s3_0_c0_c7_7"	/* an ID register that is none yet */
	try	"mrs x0, s3_0_c0_c4_0"	/* ID_AA64PFR0_EL1 */
	try	"mrs x0, s3_0_c0_c5_0"	/* ID_AA64DFR0_EL1 */
	try	"mrs x0, s3_0_c0_c7_0"	/* ID_AA64MMFR0_EL1 */
	try	"mrs x0, s3_3_c9_c12_0"	/* PMCR_EL0 */
	try	"mrs x0, s3_0_c1_c0_1"	/* ACTLR_EL1 */
	try	"mrs x0, s3_0_c11_c13_7" /* implementation defined */
	try	"msr s3_0_c15_c1_0, x0"	/* implementation defined */
	try	".inst 0xd4000003 | 0x1234 << 5" /* SMC, x0 as it is */
SYM_CODE_END(undefined)
undefined_end:

	.section .rodata
	.balign	4
	.globl	undefined_count
undefined_count:
	.word	(others - undefined) / 16
	.globl	attempt_count
attempt_count:
	.word	(undefined_end - undefined) / 16

/* What a normal VM runs: calls, stores, waits, memory that is not there. x19 is where. */
	.balign	16
	.globl	guest_code
guest_code:
	mov	x0, #0xc6000000
	hvc	#0
	add	x20, x20, #1
	str	x20, [x19]
	ldr	x1, [x19]
	wfi
	mov	x0, #0x84000000
	hvc	#0
	mrs	x1, id_aa64pfr0_el1
	ldr	x1, [x19, #8]
	add	x2, x19, #0x1000
	ldr	x1, [x2]
	b	guest_code
	.globl	guest_code_end
guest_code_end:
