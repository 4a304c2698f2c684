// SPDX-License-Identifier: GPL-2.0-only
/* Lives of protected VMs, of a bundle that its owner signed, and of what was made of it. */
#include <linux/sched.h>
#include <linux/string.h>
#include "attack.h"

#define TWI (1 << 13)
#define RUNS 200

/* Copies into a frame of the arena, in pieces that survive its loss. */
static bool fill(u64 pa, const u8 *from, u64 bytes)
{
	u64 word, at;

	for (at = 0; at < PAGE_SIZE; at += 8) {
		word = 0;
		if (at < bytes)
			memcpy(&word, from + at, min_t(u64, 8, bytes - at));
		if (guarded_store(va_of(pa) + at, word))
			return false;
	}
	return true;
}

static bool boot_info(struct attacker *a, u64 vm, enum cheat cheat)
{
	u64 page = arena_take(a, 1, 1), word;
	s64 result;

	if (!page || !fill(page, bundle.manifest, bundle.manifest_bytes))
		return false;
	if (cheat == MANIFEST) {
		u64 at = va_of(page) + (below(a, bundle.manifest_bytes) & ~7);

		if (guarded_load(at, &word) || guarded_store(at, word ^ (1ULL << below(a, 64))))
			return false;
	}
	result = WARD(a, WARD_CALL_VM_SET_BOOT_INFO, NULL, vm, page, bundle.manifest_bytes);
	if (cheat == MANIFEST) {
		if (!result)
			fail("signature", "a changed manifest was accepted");
		return false;
	}
	return step(a, "vm_set_boot_info", result);
}

/* Gives an image page by page. The last word of `spoil` pages is changed. */
static bool give_image(struct attacker *a, u64 vm, unsigned int index, bool spoil)
{
	struct image *image = &bundle.images[index];
	u64 page, pages = PAGE_ALIGN(image->size) / PAGE_SIZE, value;
	u64 bad = spoil ? below(a, pages) : ~0ULL;

	for (page = 0; page < pages; page++) {
		u64 pa = arena_take(a, 1, 1), at = page * PAGE_SIZE;

		if (!pa || !fill(pa, image->bytes + at, min_t(u64, PAGE_SIZE, image->size - at)))
			return false;
		if (page == bad && (guarded_load(va_of(pa), &value) ||
				    guarded_store(va_of(pa), value ^ 1)))
			return false;
		if (!step(a, "vm_remap_image",
			  WARD(a, WARD_CALL_VM_REMAP_IMAGE, NULL, vm, index, page, pa, 0)))
			return false;
		arena_gave(&a->arena, pa, 1);
		/* It is the guest's now. */
		if (a->quiet && !guarded_load(va_of(pa), &value))
			fail("private", "the host reads %#llx at %#llx", value, pa);
		if (a->quiet && !guarded_store(va_of(pa), 0))
			fail("private", "the host writes at %#llx", pa);
		cond_resched();
	}
	return true;
}

static s64 verify(struct attacker *a, u64 vm)
{
	s64 result;

	do
		result = WARD(a, WARD_CALL_VM_VERIFY_IMAGES, NULL, vm);
	while (result == WARD_AGAIN);
	return result;
}

#define WINDOW (va_of(page) + WARD_RUN_REGS_OFFSET)
#define WINDOW_WORDS ((PAGE_SIZE - WARD_RUN_REGS_OFFSET) / 8)
/* Of the window's words: PSTATE, of which not every value would be taken. */
#define PSTATE_WORD 33
#define EL1H_MASKED 0x3c5

static u64 forged(unsigned int word)
{
	return word == PSTATE_WORD ? EL1H_MASKED : 0x666f726765640000 | word;
}

/* Gives the guest other registers, as a normal VM's host may. */
static void forge(u64 page)
{
	unsigned int word;

	for (word = 0; word < WINDOW_WORDS; word++)
		guarded_store(WINDOW + 8 * word, forged(word));
	guarded_store(va_of(page) + offsetof(struct ward_run_in, flags), WARD_IN_REGS_DIRTY);
}

/* Ward shows none of the guest's there. */
static void check_forged(u64 page)
{
	unsigned int word;
	u64 value;

	for (word = 0; word < WINDOW_WORDS; word++)
		if (!guarded_load(WINDOW + 8 * word, &value) && value != forged(word)) {
			fail("registers", "word %u of a protected guest's registers is shown: %#llx",
			     word, value);
			return;
		}
}

/* Runs the first vCPU; its device answers with zeros. */
static bool run(struct attacker *a, u64 vm, u64 page)
{
	u64 reason, pa, ipa, n, given = 0, stores = 0;

	for (n = 0; n < RUNS; n++) {
		guarded_store(va_of(page) + offsetof(struct ward_run_in, flags), 0);
		guarded_store(va_of(page) + offsetof(struct ward_run_in, value), 0);
		guarded_store(va_of(page) + offsetof(struct ward_run_in, hcr), TWI);
		if (a->quiet)
			forge(page);
		if (!step(a, "vcpu_run", WARD(a, WARD_CALL_VCPU_RUN, &reason, vm, 0)))
			return false;
		a->runs++;
		if (a->quiet)
			check_forged(page);
		switch (reason) {
		case WARD_EXIT_MMIO:
			stores++;
			break;
		case WARD_EXIT_MEMORY:
			pa = arena_take(a, 1, 1);
			if (!pa || guarded_load(va_of(page) + WARD_RUN_EXIT_OFFSET +
							offsetof(struct ward_exit, ipa),
						&ipa))
				return false;
			if (!step(a, "vm_map", WARD(a, WARD_CALL_VM_MAP, NULL, vm, ipa, pa, 0, 3)))
				return false;
			arena_gave(&a->arena, pa, 1);
			given++;
			break;
		case WARD_EXIT_POOL:
			if (!donate(a, vm, 8))
				return false;
			break;
		case WARD_EXIT_SYSTEM_OFF:
		case WARD_EXIT_SYSTEM_RESET:
			n = RUNS;
			break;
		}
		cond_resched();
	}
	if (a->quiet && (!stores || !given))
		fail("quiet-life", "the signed guest used its device %llu times and got %llu pages",
		     stores, given);
	return true;
}

/* Verification of images of which one was changed. */
static void refused(struct attacker *a, u64 vm)
{
	u64 reason;

	if (verify(a, vm)) {
		/* It is powered off, and the exit says so */
		if (a->quiet && !WARD(a, WARD_CALL_VCPU_RUN, &reason, vm, 0) &&
		    reason != WARD_EXIT_SYSTEM_OFF)
			fail("signature", "a VM that failed its verification ran");
		return;
	}
	/* While others interfere: another VM's, if it was ended and its number taken again. */
	if (a->quiet)
		fail("signature", "a changed image was verified");
	else
		pr_info("ward_attack: vm %llu: verified, by another's images\n", vm);
}

void protected_life(struct attacker *a, enum cheat cheat)
{
	u64 vm, page, reason, n;

	if (!bundle.count)
		return;
	a->lives++;
	arena_reset(&a->arena);
	vm = new_vm(a, WARD_VM_PROTECTED, bundle.vcpus);
	if (!vm)
		return;
	if (!donate(a, vm, 24))
		goto out;
	page = new_vcpu(a, vm, 0);
	for (n = 1; page && n < bundle.vcpus; n++)
		if (!new_vcpu(a, vm, n))
			page = 0;
	if (!page || !boot_info(a, vm, cheat))
		goto out;
	for (n = 0; n < bundle.count; n++) {
		/* What is not verified does not run. */
		if (cheat == EARLY && !WARD(a, WARD_CALL_VCPU_RUN, &reason, vm, 0) &&
		    (a->quiet || stat(a, vm, WARD_STAT_VM_STATE) == WARD_VM_STATE_READY))
			fail("signature", "an unverified VM ran");
		if (!give_image(a, vm, n, cheat == IMAGE && n == 0))
			goto out;
	}
	if (cheat == IMAGE) {
		refused(a, vm);
		goto out;
	}
	if (!step(a, "vm_verify_images", verify(a, vm)) || !run(a, vm, page))
		goto out;
	a->full_lives++;
	a->protected_lives++;
out:
	end_vm(a, vm);
}
