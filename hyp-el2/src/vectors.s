// The vector tables (DDI 0487 D1.4.1): VBAR_EL2 holds the host's while the host runs, the
// guest's while a vCPU is loaded. An exception from EL2 itself is a bug of Ward's in either.
// The third is there while Ward walks EL1's tables, which are anybody's: memory that answers with
// an error then is no bug.

.macro vector
	.balign	0x80
.endm


// Leaves the guest: its registers into the Context, ward_guest_enter returns \code.
.macro from_guest code
	vector
	stp	x0, x1, [sp, #-16]!
	mov	x0, #\code
	b	.Lguest_exit
.endm

// Fatal. EL1's TPIDR registers serve as scratch: no lower level runs after this.
.macro bug number
	vector
	msr	tpidr_el1, x0
	mov	x0, #\number
	b	.Lbug
.endm

.section .text.ward_vectors, "ax"
.balign 0x800
.global ward_vectors_host
ward_vectors_host:
	bug	0
	bug	1
	bug	2
	bug	3
	bug	4
	bug	5
	bug	6
	bug	7
	vector
	sub	sp, sp, #{FRAME_SIZE}
	stp	x0, x1, [sp]
	b	.Lhost_entry
	bug	9
	bug	10
	bug	11
	bug	12
	bug	13
	bug	14
	bug	15

.balign 0x800
.global ward_vectors_guest
ward_vectors_guest:
	bug	0
	bug	1
	bug	2
	bug	3
	bug	4
	bug	5
	bug	6
	bug	7
	from_guest 0
	from_guest 1
	from_guest 2
	from_guest 3
	bug	12
	bug	13
	bug	14
	bug	15

.balign 0x800
ward_vectors_walk:
	bug	0
	bug	1
	bug	2
	bug	3
	// Synchronous, from EL2: an external abort (EC 0x25, DFSC 0b01xxxx) of the instruction at x3?
	vector
	mrs	x4, elr_el2
	cmp	x4, x3
	b.ne	1f
	mrs	x4, esr_el2
	lsr	x5, x4, #26
	cmp	x5, #0x25
	b.ne	1f
	ubfx	x4, x4, #4, #2
	cmp	x4, #1
	b.ne	1f
	mov	x2, #1
	add	x3, x3, #4
	msr	elr_el2, x3
	eret
	dsb	nsh
	isb
1:	msr	tpidr_el1, x0
	mov	x0, #4
	b	.Lbug
	bug	5
	bug	6
	bug	7
	bug	8
	bug	9
	bug	10
	bug	11
	bug	12
	bug	13
	bug	14
	bug	15

// Does \instruction, which memory may answer with an error: x2 is then 1, else 0. x1, x3, x4 and
// x5 are clobbered; on an error also ELR, SPSR, ESR and FAR of EL2.
.macro attempt instruction:vararg
	mrs	x1, vbar_el2
	adr	x3, ward_vectors_walk
	msr	vbar_el2, x3
	isb
	mov	x2, #0
	adr	x3, 1f
1:	\instruction
	msr	vbar_el2, x1
	isb
.endm

// u64 ward_translate(u64 x0): PAR_EL1 after a read of x0 by EL1, which is put back. F, bit 0, is
// set too if the walk met an error: AT takes that as an exception.
.global ward_translate
ward_translate:
	mrs	x6, par_el1
	attempt	at s1e1r, x0
	mrs	x0, par_el1
	orr	x0, x0, x2
	msr	par_el1, x6
	ret

// u64 ward_probe(u64 x0): 1 if there is an error where x0 points. For tests: QEMU's AT never
// takes one.
.global ward_probe
ward_probe:
	attempt	ldr w0, [x0]
	mov	x0, x2
	ret

.Lhost_entry:
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x19, [sp, #144]
	stp	x20, x21, [sp, #160]
	stp	x22, x23, [sp, #176]
	stp	x24, x25, [sp, #192]
	stp	x26, x27, [sp, #208]
	stp	x28, x29, [sp, #224]
	mrs	x9, elr_el2
	mrs	x10, spsr_el2
	stp	x30, x9, [sp, #240]
	str	x10, [sp, #256]
	mov	x29, xzr		// a back trace ends here
	mov	x30, xzr
	mov	x0, sp
	bl	ward_host_trap
	ldp	x30, x9, [sp, #240]
	ldr	x10, [sp, #256]
	msr	elr_el2, x9
	msr	spsr_el2, x10
	ldp	x28, x29, [sp, #224]
	ldp	x26, x27, [sp, #208]
	ldp	x24, x25, [sp, #192]
	ldp	x22, x23, [sp, #176]
	ldp	x20, x21, [sp, #160]
	ldp	x18, x19, [sp, #144]
	ldp	x16, x17, [sp, #128]
	ldp	x14, x15, [sp, #112]
	ldp	x12, x13, [sp, #96]
	ldp	x10, x11, [sp, #80]
	ldp	x8, x9, [sp, #64]
	ldp	x6, x7, [sp, #48]
	ldp	x4, x5, [sp, #32]
	ldp	x2, x3, [sp, #16]
	ldp	x0, x1, [sp]
	add	sp, sp, #{FRAME_SIZE}
	eret
	// No speculation past ERET (DDI 0487 B2.3.12; FEAT_SB is not on every CPU).
	dsb	nsh
	isb

// u64 ward_guest_enter(Context *x0, PerCpu *x1): runs the loaded vCPU until it traps.
.global ward_guest_enter
ward_guest_enter:
	stp	x29, x30, [sp, #-96]!
	stp	x27, x28, [sp, #16]
	stp	x25, x26, [sp, #32]
	stp	x23, x24, [sp, #48]
	stp	x21, x22, [sp, #64]
	stp	x19, x20, [sp, #80]
	str	x0, [x1, #{CPU_GUEST}]
	ldp	x9, x10, [x0, #{CTX_PC}]
	ldr	x11, [x0, #{CTX_SP_EL0}]
	msr	elr_el2, x9
	msr	spsr_el2, x10
	msr	sp_el0, x11
	ldp	x2, x3, [x0, #16]
	ldp	x4, x5, [x0, #32]
	ldp	x6, x7, [x0, #48]
	ldp	x8, x9, [x0, #64]
	ldp	x10, x11, [x0, #80]
	ldp	x12, x13, [x0, #96]
	ldp	x14, x15, [x0, #112]
	ldp	x16, x17, [x0, #128]
	ldp	x18, x19, [x0, #144]
	ldp	x20, x21, [x0, #160]
	ldp	x22, x23, [x0, #176]
	ldp	x24, x25, [x0, #192]
	ldp	x26, x27, [x0, #208]
	ldp	x28, x29, [x0, #224]
	ldr	x30, [x0, #240]
	ldp	x0, x1, [x0]
	eret
	dsb	nsh
	isb

.Lguest_exit:
	mrs	x1, tpidr_el2
	ldr	x1, [x1, #{CPU_GUEST}]
	stp	x2, x3, [x1, #16]
	stp	x4, x5, [x1, #32]
	stp	x6, x7, [x1, #48]
	stp	x8, x9, [x1, #64]
	stp	x10, x11, [x1, #80]
	stp	x12, x13, [x1, #96]
	stp	x14, x15, [x1, #112]
	stp	x16, x17, [x1, #128]
	stp	x18, x19, [x1, #144]
	stp	x20, x21, [x1, #160]
	stp	x22, x23, [x1, #176]
	stp	x24, x25, [x1, #192]
	stp	x26, x27, [x1, #208]
	stp	x28, x29, [x1, #224]
	str	x30, [x1, #240]
	ldp	x2, x3, [sp], #16
	stp	x2, x3, [x1]
	mrs	x2, elr_el2
	mrs	x3, spsr_el2
	stp	x2, x3, [x1, #{CTX_PC}]
	mrs	x2, sp_el0
	str	x2, [x1, #{CTX_SP_EL0}]
	ldp	x19, x20, [sp, #80]
	ldp	x21, x22, [sp, #64]
	ldp	x23, x24, [sp, #48]
	ldp	x25, x26, [sp, #32]
	ldp	x27, x28, [sp, #16]
	ldp	x29, x30, [sp], #96
	ret

// A bug: onto the emergency stack, for the exception may be that the stack is full. x0 holds
// the vector's number, TPIDR_EL1 what x0 was. A second bug on this CPU parks it at once.
.Lbug:
	msr	tpidr_el0, x1
	msr	tpidrro_el0, x2
	mrs	x1, tpidr_el2
	cbz	x1, .Lbug_no_cpu
	ldr	x2, [x1, #{CPU_BUGS}]
	cbnz	x2, .Lbug_again
	mov	x2, #1
	str	x2, [x1, #{CPU_BUGS}]
	ldr	x1, [x1, #{CPU_EMERGENCY}]
	b	1f
.Lbug_no_cpu:
	// Before the first PerCpu there is one CPU; its emergency stack is the image's.
	adrp	x1, ward_boot_emergency_end
	add	x1, x1, :lo12:ward_boot_emergency_end
1:	mov	x2, sp
	mov	sp, x1
	stp	x29, x30, [sp, #-16]!
	mov	x1, x2
	mov	x2, x29
	mov	x29, sp
	bl	ward_bug
.Lbug_again:
	wfi
	b	.Lbug_again

.global ward_image_base
ward_image_base:
	adrp	x0, ward_image_start
	ret
