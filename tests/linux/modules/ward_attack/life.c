// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whole lives of VMs. While others interfere a step may fail: the life then ends early, and
 * everything comes back all the same. In a quiet round every step must succeed.
 */
#include <linux/sched.h>
#include "attack.h"

#define RAM 0x40000000ULL
#define CODE RAM
#define DATA (RAM + PAGE_SIZE)
#define BLOCK (RAM + 0x200000)
#define DEVICE 0x09000000ULL
#define TWI (1 << 13)
#define PSTATE_EL1H 0x3c5
#define SCTLR_OFF 0x30d00800
#define RUNS 24

/* One step of a life: `false` ends it. */
bool step(struct attacker *a, const char *what, s64 result)
{
	if (result && a->quiet)
		fail("quiet-life", "%s: %lld, though nobody interferes", what, result);
	return result == 0;
}

u64 new_vm(struct attacker *a, u64 flags, u64 vcpus)
{
	u64 root = arena_take(a, target.roots, target.roots);
	u64 record = arena_take(a, WARD_VM_RECORD_FRAMES, 1);
	u64 vm = 0;

	feed_host_pool(a);
	if (!root || !record)
		return 0;
	if (!step(a, "vm_register", WARD(a, WARD_CALL_VM_REGISTER, &vm, flags, record, root, vcpus)))
		return 0;
	arena_gave(&a->arena, root, target.roots);
	arena_gave(&a->arena, record, WARD_VM_RECORD_FRAMES);
	return vm;
}

bool donate(struct attacker *a, u64 vm, u64 frames)
{
	u64 pa = arena_take(a, frames, 1);

	if (!pa || !step(a, "vm_donate", WARD(a, WARD_CALL_VM_DONATE, NULL, vm, pa, frames)))
		return false;
	arena_gave(&a->arena, pa, frames);
	return true;
}

/* Registers a vCPU and returns its run page, empty. */
u64 new_vcpu(struct attacker *a, u64 vm, u64 index)
{
	u64 record = arena_take(a, 1, 1), run = arena_take(a, 1, 1);

	if (!record || !run || guarded_fill(va_of(run), 0))
		return 0;
	if (!step(a, "vcpu_register",
		  WARD(a, WARD_CALL_VCPU_REGISTER, NULL, vm, index, record, run)))
		return 0;
	arena_gave(&a->arena, record, 1);
	return run;
}

/* Powers off, clears a range, destroys. `true`: all of it went as it should. */
bool end_vm(struct attacker *a, u64 vm)
{
	u64 cleared;
	/* A failed verification has done that. */
	bool off = stat(a, vm, WARD_STAT_VM_STATE) == WARD_VM_STATE_POWER_OFF;
	bool good = off ||
		    step(a, "vm_power_off", WARD(a, WARD_CALL_VM_POWER_OFF, NULL, vm));

	/* Part of it frame by frame. Busy: a run of the vCPU is on its way out. */
	if (good)
		WARD(a, WARD_CALL_VM_CLEAR_RANGE, &cleared, vm, a->arena.pa + 40 * PAGE_SIZE, 16);
	destroy(a, vm);
	if (a->quiet) {
		unsigned long missing = arena_collect(a, &a->arena);

		if (missing)
			fail("quiet-life", "%lu frames did not come back", missing);
	}
	return good;
}

static void put(u64 run, u64 offset, u64 value)
{
	guarded_store(va_of(run) + offset, value);
}

static void set_registers(u64 run, u64 vcpu)
{
	u64 regs = WARD_RUN_REGS_OFFSET;

	put(run, regs + offsetof(struct ward_regs, x[19]), DATA + 64 * vcpu);
	put(run, regs + offsetof(struct ward_regs, pc), CODE);
	put(run, regs + offsetof(struct ward_regs, pstate), PSTATE_EL1H);
	put(run, regs + offsetof(struct ward_regs, sys[WARD_SYS_SCTLR_EL1]), SCTLR_OFF);
	put(run, offsetof(struct ward_run_in, flags), WARD_IN_REGS_DIRTY);
	put(run, offsetof(struct ward_run_in, hcr), TWI);
}

/* Runs it some times and answers its exits; `true` unless a run was refused. */
static bool run(struct attacker *a, u64 vm, const u64 *pages)
{
	u64 reasons = 0, reason, pa;
	unsigned int n, vcpu;

	for (n = 0; n < RUNS; n++) {
		vcpu = n & 1;
		if (!step(a, "vcpu_run", WARD(a, WARD_CALL_VCPU_RUN, &reason, vm, vcpu)))
			return false;
		a->runs++;
		reasons |= 1ULL << (reason & 63);
		put(pages[vcpu], offsetof(struct ward_run_in, flags), 0);
		put(pages[vcpu], offsetof(struct ward_run_in, value), next_random(a));
		if (reason == WARD_EXIT_MEMORY) {
			pa = arena_take(a, 1, 1);
			if (!pa)
				return false;
			/* The other vCPU may have come to the same page first. */
			WARD(a, WARD_CALL_VM_MAP, NULL, vm, DATA + PAGE_SIZE, pa, 0, 3);
		}
		cond_resched();
	}
	if (a->quiet && !(reasons & 1 << WARD_EXIT_CALL))
		fail("quiet-life", "the guest made no call in %u runs (reasons %#llx)", n, reasons);
	return true;
}

static bool use_memory(struct attacker *a, u64 vm, u64 data)
{
	u64 young, block;

	if (!step(a, "vm_age", WARD(a, WARD_CALL_VM_AGE, &young, vm, DATA, 0)) ||
	    !step(a, "vm_write_protect", WARD(a, WARD_CALL_VM_WRITE_PROTECT, NULL, vm, DATA, 0)) ||
	    !step(a, "vm_unmap", WARD(a, WARD_CALL_VM_UNMAP, NULL, vm, DATA, 0)) ||
	    !step(a, "vm_map again", WARD(a, WARD_CALL_VM_MAP, NULL, vm, DATA, data, 0, 3)))
		return false;
	/* A block lent and taken apart; other lives' leftovers may stand in the way. */
	block = arena_take(a, BLOCK_FRAMES, BLOCK_FRAMES);
	if (block && !WARD(a, WARD_CALL_VM_MAP, NULL, vm, BLOCK, block, 9, 1)) {
		WARD(a, WARD_CALL_VM_UNMAP, NULL, vm, BLOCK + PAGE_SIZE * below(a, 512), 0);
		WARD(a, WARD_CALL_VM_AGE, &young, vm, BLOCK, 9);
	}
	return true;
}

void normal_life(struct attacker *a)
{
	u64 vm, pages[2], code, data, pa;

	a->lives++;
	arena_reset(&a->arena);
	vm = new_vm(a, 0, 2);
	if (!vm)
		return;
	code = arena_take(a, 1, 1);
	data = arena_take(a, 1, 1);
	if (!code || !data || guarded_copy(va_of(code), (u64)guest_code))
		goto out;
	if (!donate(a, vm, 16))
		goto out;
	pages[0] = new_vcpu(a, vm, 0);
	pages[1] = pages[0] ? new_vcpu(a, vm, 1) : 0;
	if (!pages[1])
		goto out;
	set_registers(pages[0], 0);
	set_registers(pages[1], 1);
	if (!step(a, "vm_map", WARD(a, WARD_CALL_VM_MAP, NULL, vm, CODE, code, 0, 3)) ||
	    !step(a, "vm_map", WARD(a, WARD_CALL_VM_MAP, NULL, vm, DATA, data, 0, 1)) ||
	    !step(a, "vm_set_cntvoff",
		  WARD(a, WARD_CALL_VM_SET_CNTVOFF, NULL, vm, next_random(a))) ||
	    !step(a, "vm_map_io", WARD(a, WARD_CALL_VM_MAP_IO, NULL, vm, DEVICE, DEVICE, 1)))
		goto out;
	if (!run(a, vm, pages) || !use_memory(a, vm, data))
		goto out;
	if (step(a, "vm_reclaim_pool", WARD(a, WARD_CALL_VM_RECLAIM_POOL, &pa, vm)))
		a->full_lives++;
out:
	end_vm(a, vm);
}
