// SPDX-License-Identifier: GPL-2.0-only
/* Calls and what came of them. */
#include <linux/irqflags.h>
#include <linux/sched.h>
#include <asm/barrier.h>
#include <asm/sysreg.h>
#include "attack.h"

/* Frames given to the pool of the host's tables, 32 at a time; they never come back. */
#define MAX_GIFTS 64
#define GIFT_ORDER 5
#define ENOUGH_TABLES 48

void count_result(struct attacker *a, enum kind kind, s64 result)
{
	unsigned int column = RESULTS - 1;

	if (result == 0 || result == 1)
		column = result;
	else if (result < 0 && result >= -13)
		column = 1 - result;
	a->count[kind][column]++;
	a->calls++;
}

static enum kind kind_of(u64 function)
{
	u64 number = function - WARD_CALL_VERSION;

	if (number <= WARD_CALL_VM_DESTROY - WARD_CALL_VERSION)
		return number;
	if (function >= WARD_CALL_SMMU_ALLOC && function <= WARD_CALL_LOAD_CRYPT_VCPU)
		return number;
	return KIND_UNKNOWN;
}

/*
 * A run takes the virtual timer, and a kernel that knows nothing of Ward keeps its time by it: who
 * runs vCPUs from such a kernel puts it back (docs/exits.md).
 */
static void hvc_with_own_timer(u64 *words)
{
	unsigned long flags;
	u64 control, deadline;

	local_irq_save(flags);
	control = read_sysreg(cntv_ctl_el0);
	deadline = read_sysreg(cntv_cval_el0);
	raw_hvc(words);
	write_sysreg(deadline, cntv_cval_el0);
	write_sysreg(control, cntv_ctl_el0);
	isb();
	local_irq_restore(flags);
}

/* Makes a call as it stands. */
u64 call(struct attacker *a, struct words *w)
{
	enum kind kind = kind_of(w->x[0]);

	hvc_with_own_timer(w->x);
	count_result(a, kind, w->x[0]);
	cond_resched();
	return w->x[0];
}

/* A call with named arguments; `x1` may be NULL. */
s64 ward(struct attacker *a, u64 function, u64 *x1, const u64 *args, int count)
{
	struct words w = { .x = { function } };
	s64 result;
	int n;

	for (n = 0; n < count; n++)
		w.x[n + 1] = args[n];
	result = call(a, &w);
	if (x1)
		*x1 = w.x[1];
	return result;
}

u64 info(struct attacker *a, u64 key)
{
	u64 value = 0;

	WARD(a, WARD_CALL_INFO, &value, key);
	return value;
}

u64 stat(struct attacker *a, u64 vm, u64 key)
{
	u64 value = 0;

	return WARD(a, WARD_CALL_STAT_READ, &value, vm, key) ? ~0ULL : value;
}

/* I1 to I3 over all frames, by a test image of Ward's. */
void check_invariants(struct attacker *a)
{
	struct words w = { .x = { TEST_CHECK, TEST_MAGIC } };

	raw_hvc(w.x);
	count_result(a, KIND_CHECK, w.x[0]);
	cond_resched();
	if (w.x[0]) {
		a->code = w.x[0];
		if ((s64)w.x[0] < 0)
			fail("invariants", "this image of Ward's cannot check them: boot ward-test.bin (cargo xtask image --test)");
		else
			fail("invariants", "I%lld (4: the books) is broken: Ward's log says what", w.x[0]);
		return;
	}
	atomic64_inc(&target.checks);
	atomic64_add(w.x[1], &target.frames_checked);
	target.leaves = w.x[2];
	target.tables = w.x[3];
	target.ward = w.x[5];
}

/* Ward meets an error of the memory where it expects one, and lives. */
void check_probe(struct attacker *a)
{
	struct words w = { .x = { TEST_PROBE, TEST_MAGIC, TEST_HOLE } };

	raw_hvc(w.x);
	count_result(a, KIND_CHECK, w.x[0]);
	if (w.x[0] || w.x[1] != 1)
		fail("probe", "Ward's read of a hole: %lld, an error: %lld", w.x[0], w.x[1]);
}

/* What splits the host's own map comes from the host. */
void feed_host_pool(struct attacker *a)
{
	if (info(a, WARD_INFO_HOST_POOL) < ENOUGH_TABLES)
		gift(a);
}

void gift(struct attacker *a)
{
	struct page *pages;

	if (atomic64_inc_return(&target.gifts) > MAX_GIFTS)
		return;
	pages = alloc_pages(GFP_KERNEL | __GFP_NOWARN, GIFT_ORDER);
	if (!pages)
		return;
	if (WARD(a, WARD_CALL_HOST_DONATE, NULL, page_to_phys(pages), 1UL << GIFT_ORDER))
		__free_pages(pages, GIFT_ORDER);
}

/* Ends a VM, whatever it is doing. */
void destroy(struct attacker *a, u64 vm)
{
	int tries = 100000;

	WARD(a, WARD_CALL_VM_POWER_OFF, NULL, vm);
	while (tries--) {
		s64 result = WARD(a, WARD_CALL_VM_DESTROY, NULL, vm);

		if (result != WARD_AGAIN && result != WARD_ERR_BUSY)
			return;
	}
	fail("destroy", "vm %llu does not end", vm);
}
