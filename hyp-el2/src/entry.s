// Where Ward begins: the boot CPU from the boot loader, every other CPU from PSCI CPU_ON.
//
// At both entries the MMU is off, so all accesses go to memory past the caches (DDI 0487 D8.2.11,
// stage 1 disabled: Device-nGnRnE) and must be aligned. The image is position independent: only
// PC-relative addresses until relocation is done.

// The arm64 Image header (Linux Documentation/arch/arm64/booting.rst). The loader enters at its
// first byte with x0 = physical address of the device tree.
.section .head.text, "ax"
.global _start
_start:
	b	.Lboot			// code0
	.long	0			// code1
	.quad	0			// text_offset: at the 2 MiB aligned base
	.quad	ward_image_size		// with BSS
	.quad	0xa			// little endian, 4 KiB pages, anywhere in memory
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

// The EL2 state that every CPU starts with, x9 clobbered. Parks when not at EL2.
.macro el2_reset
	msr	DAIFSet, #0xf
	mrs	x9, CurrentEL
	cmp	x9, #(2 << 2)
	b.ne	.Lpark
	msr	SPSel, #1
	// MMU, caches and alignment checks off; RES1 bits of Armv8.0 (DDI 0487 D24.2.176).
	ldr	x9, =0x30c50830
	msr	sctlr_el2, x9
	// Not VHE, EL1 is AArch64; stage 2 comes before the first ERET.
	mov	x9, #(1 << 31)
	msr	hcr_el2, x9
	// FP/SIMD usable at EL2 and below, SVE and trace trapped (DDI 0487 D24.2.35, E2H = 0).
	ldr	x9, =0x001033ff
	msr	cptr_el2, x9
	isb
.endm

.section .text.ward_boot, "ax"
.Lboot:
	el2_reset
	msr	tpidr_el2, xzr
	mov	x19, x0

	// Cache lines of the image that a boot loader left behind are older than what the stores
	// below put into memory: drop them, before and after (DDI 0487 D7.5.9).
	adrp	x0, ward_image_start
	adrp	x1, ward_image_end
	bl	ward_invalidate_range

	// BSS is zero. Its ends are 16-byte aligned.
	adrp	x0, ward_bss_start
	add	x0, x0, :lo12:ward_bss_start
	adrp	x1, ward_bss_end
	add	x1, x1, :lo12:ward_bss_end
1:	cmp	x0, x1
	b.hs	2f
	stp	xzr, xzr, [x0], #16
	b	1b
2:
	adrp	x9, ward_boot_stack_end
	add	x9, x9, :lo12:ward_boot_stack_end
	mov	sp, x9

	// Relocate. The image is linked at 0 and all its relocations are relative ones, packed (RELR,
	// ELF for the Arm 64-bit Architecture 5.7.16; generic ABI, "Relative relocation table"): an
	// even word is the address of a place to relocate, an odd one a bitmap of the 63 places after
	// the last address or bitmap.
	adrp	x10, ward_image_start
	adrp	x11, ward_relr_start
	add	x11, x11, :lo12:ward_relr_start
	adrp	x12, ward_relr_end
	add	x12, x12, :lo12:ward_relr_end
3:	cmp	x11, x12
	b.hs	4f
	ldr	x13, [x11], #8
	tbnz	x13, #0, 5f
	add	x13, x13, x10
	ldr	x15, [x13]
	add	x15, x15, x10
	str	x15, [x13], #8		// x13: the place after it
	mov	x14, x13
	b	3b
5:	mov	x9, x14			// x14: the first place of this bitmap
6:	lsr	x13, x13, #1
	cbz	x13, 7f
	tbz	x13, #0, 8f
	ldr	x15, [x9]
	add	x15, x15, x10
	str	x15, [x9]
8:	add	x9, x9, #8
	b	6b
7:	add	x14, x14, #(63 * 8)
	b	3b
4:
	mov	x29, xzr
	mov	x30, xzr
	mov	x0, x19
	bl	ward_early		// fills the first tables and ward_mmu
	adrp	x0, ward_image_start
	adrp	x1, ward_image_end
	bl	ward_invalidate_range
	bl	ward_mmu_on
	adrp	x9, ward_vectors_host
	add	x9, x9, :lo12:ward_vectors_host
	msr	vbar_el2, x9
	isb
	mov	x0, x19
	bl	ward_main
.Lpark:
	wfi
	b	.Lpark

// A CPU that PSCI started or woke: x0 = its PerCpu, which was cleaned to memory.
.global ward_secondary
ward_secondary:
	el2_reset
	mov	x19, x0
	bl	ward_mmu_on
	msr	tpidr_el2, x19
	ldr	x9, [x19, #{CPU_STACK}]
	mov	sp, x9
	adrp	x9, ward_vectors_host
	add	x9, x9, :lo12:ward_vectors_host
	msr	vbar_el2, x9
	isb
	mov	x29, xzr
	mov	x30, xzr
	mov	x0, x19
	bl	ward_secondary_main
	b	.Lpark

// Invalidates [x0, x1) by the smallest data cache line (CTR_EL0.DminLine).
ward_invalidate_range:
	mrs	x2, ctr_el0
	ubfx	x2, x2, #16, #4
	mov	x3, #4
	lsl	x3, x3, x2
	sub	x4, x3, #1
	bic	x0, x0, x4
	dsb	sy
1:	cmp	x0, x1
	b.hs	2f
	dc	ivac, x0
	add	x0, x0, x3
	b	1b
2:	dsb	sy
	ret

// MMU and caches on, from ward_mmu (mair, tcr, ttbr0, sctlr). DDI 0487 D8.2.3.
ward_mmu_on:
	adrp	x9, ward_mmu
	add	x9, x9, :lo12:ward_mmu
	ldp	x10, x11, [x9]
	ldp	x12, x13, [x9, #16]
	msr	mair_el2, x10
	msr	tcr_el2, x11
	msr	ttbr0_el2, x12
	isb
	tlbi	alle2
	ic	iallu
	dsb	nsh
	isb
	msr	sctlr_el2, x13
	isb
	ret

// Makes the PerCpu in x0 this CPU's.
.global ward_set_cpu
ward_set_cpu:
	msr	tpidr_el2, x0
	isb
	ret

// Leaves EL2 for the host: x0 = pc, x1 = pstate, x2 = x0 of the host, x3 = PerCpu.
// EL2's stack is empty from here: an exception starts at its top.
.global ward_enter_host
ward_enter_host:
	ldr	x9, [x3, #{CPU_STACK}]
	mov	sp, x9
	msr	elr_el2, x0
	msr	spsr_el2, x1
	msr	sp_el0, xzr
	msr	sp_el1, xzr
	mov	x0, x2
	.irp	n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
	mov	x\n, xzr
	.endr
	eret
	dsb	nsh
	isb

// VBAR_EL2 while a vCPU is loaded, and while the host runs.
.global ward_set_guest_vectors
ward_set_guest_vectors:
	adrp	x0, ward_vectors_guest
	add	x0, x0, :lo12:ward_vectors_guest
	msr	vbar_el2, x0
	ret
.global ward_set_host_vectors
ward_set_host_vectors:
	adrp	x0, ward_vectors_host
	add	x0, x0, :lo12:ward_vectors_host
	msr	vbar_el2, x0
	ret
