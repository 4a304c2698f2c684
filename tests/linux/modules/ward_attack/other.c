// SPDX-License-Identifier: GPL-2.0-only
/* Everything else that traps: SMCs, HVCs of other kinds, registers, memory that is not ours. */
#include <linux/io.h>
#include <linux/sched.h>
#include "attack.h"

/*
 * PSCI (DEN0022) with arguments that must be refused: an entry point that is Ward's, or no
 * address of an instruction. CPU_OFF, SYSTEM_OFF and SYSTEM_RESET are the host's right and would
 * end the test.
 */
static void psci(struct attacker *a)
{
	static const u64 functions[] = {
		0x84000000, /* VERSION */
		0x84000001, 0xc4000001, /* CPU_SUSPEND */
		0x84000003, 0xc4000003, /* CPU_ON */
		0x84000004, 0xc4000004, /* AFFINITY_INFO */
		0x84000005, 0xc4000005, /* MIGRATE */
		0x84000006, 0x84000007, 0x8400000a, /* FEATURES */
		0x8400000b, 0x8400000c, 0xc400000c, 0x8400000d, 0xc400000d,
		0x8400000e, 0xc400000e, /* SYSTEM_SUSPEND */
		0x8400000f, 0x84000013, 0xc4000014,
	};
	struct words w = { .x = { functions[below(a, ARRAY_SIZE(functions))] } };
	u64 function = w.x[0], entry = target.ward + below(a, WARD_PAGES) * PAGE_SIZE;

	if (below(a, 3) == 0)
		entry |= 1 + below(a, 3);
	w.x[1] = below(a, 2) ? below(a, 8) : next_random(a);
	w.x[2] = entry;
	w.x[3] = next_random(a);
	if ((function & 0xff) == 1)
		w.x[1] = 1 << 16 | 1 << 30; /* powers down, in either format */
	raw_smc(w.x);
	count_result(a, KIND_PSCI, (s32)w.x[0]);
	if ((function & 0xff) == 3 && (s32)w.x[0] == 0)
		fail("psci", "CPU_ON at %#llx was not refused", entry);
	if ((s32)w.x[0] < 0)
		a->denied_entry++;
}

/* Firmware's own services, vendors', trusted OS's: none of them is the host's to call. */
static void smc(struct attacker *a)
{
	static const u64 ranges[] = {
		0x81000000, 0x82000000, 0x83000000, 0xc2000000, 0xc3000000, 0x84000020, 0x84000050,
		0x84000060, 0xc4000060, 0x85000000, 0x86000000, 0xb2000000, 0xbf000000, 0x02000000,
	};
	struct words w = { .x = { ranges[below(a, ARRAY_SIZE(ranges))] + below(a, 16) } };
	unsigned int n;

	for (n = 1; n < 8; n++)
		w.x[n] = below(a, 2) ? target.ward : next_random(a);
	if (below(a, 4))
		raw_smc(w.x);
	else
		raw_smc_1(w.x);
	count_result(a, KIND_SMC, (s32)w.x[0]);
}

/* HVC #n, and the stub that Linux's KVM would use to replace Ward. */
static void hvc(struct attacker *a)
{
	struct words w = { .x = { below(a, 2) ? next_random(a) : WARD_CALL_VM_REGISTER,
				  target.ward, target.ward, target.ward } };
	if (below(a, 2)) {
		if (below(a, 2))
			raw_hvc_1(w.x);
		else
			raw_hvc_ffff(w.x);
		count_result(a, KIND_IMMEDIATE, w.x[0]);
		return;
	}
	w.x[0] = below(a, 5);
	w.x[1] = below(a, 2) ? (u64)guest_code : target.ward;
	raw_hvc(w.x);
	count_result(a, KIND_STUB, w.x[0]);
}

static void reg(struct attacker *a)
{
	unsigned int which = below(a, attempt_count);
	u64 value, esr = guarded_execute(which, next_random(a), &value);

	count_result(a, KIND_REGISTER, esr ? -1 : 0);
	if (!esr && which < undefined_count)
		fail("register", "instruction %u of `undefined` was carried out: %#llx", which, value);
}

/* A load or a store to Ward's memory, which nothing in this kernel maps. */
static void touch(struct attacker *a)
{
	u64 pa = target.ward + below(a, WARD_PAGES) * PAGE_SIZE, value = 0, esr;
	void __iomem *at = ioremap(pa, PAGE_SIZE);

	if (!at)
		return;
	if (below(a, 2))
		esr = guarded_load((u64)at, &value);
	else
		esr = guarded_store((u64)at, next_random(a));
	iounmap(at);
	count_result(a, KIND_TOUCH, esr ? -4 : 0);
	if (!esr)
		fail("touch", "Ward's memory at %#llx can be reached: %#llx", pa, value);
}

void other_attack(struct attacker *a)
{
	switch (below(a, 8)) {
	case 0:
	case 1:
		psci(a);
		break;
	case 2:
		smc(a);
		break;
	case 3:
	case 4:
		hvc(a);
		break;
	case 5:
		touch(a);
		break;
	default:
		reg(a);
	}
	cond_resched();
}
