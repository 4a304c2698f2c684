// SPDX-License-Identifier: GPL-2.0-only
/* Random calls: every number, arguments that are nearly right. */
#include "attack.h"

/* Frames of the longest range that is named. */
#define LONGEST 513
/* Frames of the pool that calls begin at; such a range may follow any of them. */
#define NAMED 64

static const u64 functions[] = {
	WARD_CALL_VERSION, WARD_CALL_INFO, WARD_CALL_HOST_DONATE, WARD_CALL_LOG_READ,
	WARD_CALL_STAT_READ, WARD_CALL_VM_REGISTER, WARD_CALL_VCPU_REGISTER, WARD_CALL_VM_DONATE,
	WARD_CALL_VM_RECLAIM_POOL, WARD_CALL_VM_SET_BOOT_INFO, WARD_CALL_VM_REMAP_IMAGE,
	WARD_CALL_VM_VERIFY_IMAGES, WARD_CALL_VCPU_RUN, WARD_CALL_VM_MAP, WARD_CALL_VM_UNMAP,
	WARD_CALL_VM_WRITE_PROTECT, WARD_CALL_VM_AGE, WARD_CALL_VM_MAP_IO, WARD_CALL_VM_CLEAR_RANGE,
	WARD_CALL_VM_SET_CNTVOFF, WARD_CALL_VM_POWER_OFF, WARD_CALL_VM_DESTROY, WARD_CALL_SMMU_ALLOC,
	WARD_CALL_SMMU_FREE, WARD_CALL_SMMU_MAP, WARD_CALL_SMMU_CLEAR, WARD_CALL_SMMU_IOVA_TO_PHYS,
	WARD_CALL_ENCRYPT_BUF, WARD_CALL_DECRYPT_BUF, WARD_CALL_SAVE_CRYPT_VCPU,
	WARD_CALL_LOAD_CRYPT_VCPU,
};

static const u64 edges[] = { 0, 1, 2, 3, 9, 64, 511, 512, 513, 4096, 1ULL << 52, ~0ULL, ~0xfffULL };
static const u64 ipas[] = { 0x40000000, 0x40001000, 0x40200000, 0x43fff000, 0x9000000, 0 };

/* SplitMix64 */
u64 next_random(struct attacker *a)
{
	u64 z = a->random += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

u64 below(struct attacker *a, u64 limit)
{
	return next_random(a) % limit;
}

/* A page of the pool, now and then not quite one. */
static u64 named(struct attacker *a)
{
	return target.pool.pa + below(a, NAMED) * PAGE_SIZE + (below(a, 8) ? 0 : 8);
}

/*
 * Not the host's own memory, which would be given away: that much of a kernel is the host's to
 * lose, and the test with it.
 */
static u64 stranger(struct attacker *a)
{
	u64 at = next_random(a);

	if (below(a, 2))
		at &= ((1ULL << 52) - 1) & PAGE_MASK;
	return at | 1ULL << 45;
}

static u64 argument(struct attacker *a)
{
	u64 device;

	switch (below(a, 14)) {
	case 0:
		return stranger(a);
	case 1:
	case 2:
		return edges[below(a, ARRAY_SIZE(edges))];
	case 3:
		return target.ward + below(a, WARD_PAGES) * PAGE_SIZE;
	case 4:
		/* device pages of many machines */
		device = below(a, 0x10000) * PAGE_SIZE;
		return page_is_ram(device >> PAGE_SHIFT) ? stranger(a) : device;
	case 5:
		return ipas[below(a, ARRAY_SIZE(ipas))];
	case 6:
		/* another attacker's frames; what lies behind the arena is the kernel's */
		return target.attackers[below(a, target.threads)]->arena.pa +
		       below(a, ARENA_FRAMES - LONGEST) * PAGE_SIZE;
	case 7:
	case 8:
	case 9:
		return below(a, 12);
	default:
		return named(a);
	}
}

static bool in_arena(const struct arena *arena, u64 at)
{
	return at >= arena->pa && at < arena->pa + ARENA_FRAMES * PAGE_SIZE;
}

static bool in_some_arena(u64 at)
{
	unsigned int n;

	for (n = 0; n < target.threads; n++)
		if (in_arena(&target.attackers[n]->arena, at))
			return true;
	return false;
}

/* Words of a run page, or of a manifest, or of nothing. */
static void scribble(struct attacker *a)
{
	u64 page = va_of(target.pool.pa + below(a, NAMED) * PAGE_SIZE);
	unsigned int n;

	for (n = 0; n < 8; n++)
		guarded_store(page + below(a, 512) * 8,
			      below(a, 2) ? next_random(a) : edges[below(a, ARRAY_SIZE(edges))]);
	/* flags that are taken, now and then */
	guarded_store(page, below(a, 16));
}

void random_call(struct attacker *a)
{
	struct words w;
	unsigned int n;
	u64 x0;

	switch (below(a, 24)) {
	case 0:
		x0 = next_random(a);
		break;
	case 1:
		x0 = WARD_CALL_VERSION + below(a, 256);
		break;
	default:
		x0 = functions[below(a, ARRAY_SIZE(functions))];
	}
	/* a guest's call, with which the host has no business */
	if (below(a, 64) == 0)
		x0 = 0xc6000000 + below(a, 64);
	w.x[0] = x0;
	for (n = 1; n < 8; n++)
		w.x[n] = argument(a);
	if (x0 == WARD_CALL_HOST_DONATE) {
		/* What goes to the host's tables never comes back: seldom, lest nothing is left. */
		if (below(a, 32) || in_some_arena(w.x[1]))
			w.x[2] = 0;
		else
			w.x[2] = 1;
	}
	if (x0 == WARD_CALL_VCPU_REGISTER) {
		/* a run page is written later, and others check that theirs are zero */
		if (in_some_arena(w.x[4]))
			w.x[4] = named(a);
		/* both pages right, for once */
		if (below(a, 2)) {
			w.x[2] = below(a, 2);
			w.x[3] = named(a) & PAGE_MASK;
			w.x[4] = named(a) & PAGE_MASK;
		}
	}
	if (x0 == WARD_CALL_VM_REGISTER && below(a, 2)) {
		w.x[1] = below(a, 2);
		w.x[2] = named(a) & PAGE_MASK;
		w.x[3] = (target.pool.pa + below(a, NAMED / target.roots) * target.roots * PAGE_SIZE);
		w.x[4] = 1 + below(a, 4);
	}
	if (x0 == WARD_CALL_VM_MAP && in_some_arena(w.x[3]))
		w.x[3] = named(a);
	if (below(a, 8) == 0)
		scribble(a);
	call(a, &w);
}
