/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A malicious host: what the files of this module share.
 *
 * Frames that Ward may take never go back to the page allocator while a round runs, and are
 * touched only through the guarded functions, which survive the abort that a frame of somebody
 * else's gives.
 */
#ifndef WARD_ATTACK_H
#define WARD_ATTACK_H

#include <linux/atomic.h>
#include <linux/mm.h>
#include <linux/types.h>
#include <ward_abi.h>

/* What only a test image of Ward's answers. */
#define TEST_CHECK 0xc600eef4ULL
#define TEST_PROBE 0xc600eef5ULL
/* Nothing is there on QEMU's virt machine: behind the memory that only the secure world has. */
#define TEST_HOLE 0x0f000000ULL
#define TEST_MAGIC 0x5741524454455354ULL

/* Frames of an arena: one block of the page allocator's largest order here, 4 MiB. */
#define ARENA_ORDER 10
#define ARENA_FRAMES (1UL << ARENA_ORDER)
#define BLOCK_FRAMES 512UL
#define MAX_THREADS 16
/* Pages that Ward has at the address it names: fewer than its image has. */
#define WARD_PAGES 64

/* x0..x7 of a call and of its answer. */
struct words {
	u64 x[8];
};

/* Calls that are counted: those of the interface by their number, then the other attacks. */
enum kind {
	KIND_CALL = 0, /* and 63 more: function & 0x3f */
	KIND_UNKNOWN = 64, /* no call of Ward's, by HVC */
	KIND_STUB, /* Linux's EL2 stub */
	KIND_IMMEDIATE, /* HVC with a number in the instruction */
	KIND_SMC,
	KIND_PSCI,
	KIND_REGISTER, /* instructions that must be undefined */
	KIND_TOUCH, /* loads and stores to what is not ours */
	KIND_CHECK,
	KINDS,
};

/* Results of a call: 0 done, 1 again, 2..14 errors -1..-13, 15 anything else. */
#define RESULTS 16

struct arena {
	struct page *pages;
	u64 pa;
	/* The frame was Ward's or a VM's when last seen: it must come back zeroed. */
	u8 away[ARENA_FRAMES];
	unsigned long next;
};

/* One attacking thread, bound to a CPU as long as that is online. */
struct attacker {
	unsigned int id;
	bool quiet; /* nobody interferes: every step must succeed */
	u64 random;
	u64 calls, limit;
	struct arena arena;
	u32 count[KINDS][RESULTS];
	u64 lives, protected_lives, full_lives, runs, returned, denied_entry;
	u64 code; /* of the invariant check, when it failed */
};

/* What all threads know. */
struct target {
	u64 ward; /* the first of WARD_PAGES pages of Ward's */
	u64 roots; /* frames of a VM's root table */
	u64 max_vms;
	struct arena pool; /* frames that random calls name */
	struct attacker *attackers[MAX_THREADS];
	unsigned int threads;
	/* Checks of the last round, summed up. */
	atomic64_t checks, frames_checked, gifts;
	u64 leaves, tables;
};

extern struct target target;

/* call.c */
extern void fail(const char *name, const char *fmt, ...);
extern u64 call(struct attacker *a, struct words *w);
extern s64 ward(struct attacker *a, u64 function, u64 *x1, const u64 *args, int count);
#define WARD(a, function, x1, ...)                                             \
	ward(a, function, x1, (const u64[]){ __VA_ARGS__ },                    \
	     sizeof((const u64[]){ __VA_ARGS__ }) / sizeof(u64))
extern void count_result(struct attacker *a, enum kind kind, s64 result);
extern u64 info(struct attacker *a, u64 key);
extern u64 stat(struct attacker *a, u64 vm, u64 key);
extern void check_invariants(struct attacker *a);
extern void check_probe(struct attacker *a);
extern void feed_host_pool(struct attacker *a);
extern void gift(struct attacker *a);
extern void destroy(struct attacker *a, u64 vm);

/* guarded.S: all return the ESR of the last exception, 0 for none. */
extern u64 guarded_load(u64 va, u64 *value);
extern u64 guarded_store(u64 va, u64 value);
extern u64 guarded_fill(u64 va, u64 value); /* one frame */
extern u64 guarded_or(u64 va, u64 *all); /* of the words of one frame */
extern u64 guarded_copy(u64 to, u64 from); /* one frame */
extern u64 guarded_execute(unsigned int index, u64 x0, u64 *value);
extern u64 guarded_hvc(u64 *words);
extern void raw_hvc(u64 *words);
extern void raw_hvc_1(u64 *words);
extern void raw_hvc_ffff(u64 *words);
extern void raw_smc(u64 *words);
extern void raw_smc_1(u64 *words);
extern const u32 undefined_count, attempt_count;
extern const char guest_code[], guest_code_end[];

/* frames.c */
extern int arena_make(struct arena *arena);
extern void arena_free(struct arena *arena);
extern void arena_reset(struct arena *arena);
extern u64 arena_take(struct attacker *a, u64 frames, u64 align);
extern void arena_gave(struct arena *arena, u64 pa, u64 frames);
extern unsigned long arena_collect(struct attacker *a, struct arena *arena);
static inline u64 va_of(u64 pa)
{
	return (u64)__va(pa);
}

/* bundle.c */
struct image {
	const u8 *bytes;
	u64 size, ipa;
};
extern struct bundle {
	const u8 *manifest;
	u64 manifest_bytes, vcpus, entry;
	struct image images[WARD_MAX_IMAGES];
	unsigned int count;
} bundle;
extern int bundle_load(const char *path);
extern void bundle_drop(void);

/* life.c, protected.c */
extern bool step(struct attacker *a, const char *what, s64 result);
extern u64 new_vm(struct attacker *a, u64 flags, u64 vcpus);
extern u64 new_vcpu(struct attacker *a, u64 vm, u64 index);
extern bool donate(struct attacker *a, u64 vm, u64 frames);
extern bool end_vm(struct attacker *a, u64 vm);
extern void normal_life(struct attacker *a);
/* How the host cheats an owner. */
enum cheat { HONEST, MANIFEST, IMAGE, EARLY, CHEATS };
extern void protected_life(struct attacker *a, enum cheat cheat);

/* random.c, other.c */
extern u64 next_random(struct attacker *a);
extern u64 below(struct attacker *a, u64 limit);
extern void random_call(struct attacker *a);
extern void other_attack(struct attacker *a);

#endif
