// SPDX-License-Identifier: GPL-2.0-only
/* Frames to give away, and whether they come back, zeroed. */
#include "attack.h"

int arena_make(struct arena *arena)
{
	arena->pages = alloc_pages(GFP_KERNEL | __GFP_NOWARN, ARENA_ORDER);
	if (!arena->pages)
		return -ENOMEM;
	split_page(arena->pages, ARENA_ORDER);
	arena->pa = page_to_phys(arena->pages);
	memset(arena->away, 0, sizeof(arena->away));
	arena->next = 0;
	return 0;
}

/* Frees what can be reached. The rest went to the pool of the host's tables, for ever. */
void arena_free(struct arena *arena)
{
	unsigned long n;

	if (!arena->pages)
		return;
	for (n = 0; n < ARENA_FRAMES; n++)
		if (!guarded_fill(va_of(arena->pa + n * PAGE_SIZE), 0))
			__free_page(arena->pages + n);
	arena->pages = NULL;
}

void arena_reset(struct arena *arena)
{
	arena->next = 0;
}

/* Is the frame ours again? If it was away it must come back zeroed. */
static bool is_back(struct attacker *a, struct arena *arena, unsigned long n)
{
	u64 pa = arena->pa + n * PAGE_SIZE, all = 0;

	if (!arena->away[n])
		return true;
	if (guarded_or(va_of(pa), &all))
		return false;
	if (all)
		fail("zeroed", "frame %#llx came back with %#llx in it", pa, all);
	arena->away[n] = 0;
	a->returned++;
	return true;
}

/* Frames that the host can write now, filled with what nobody else may see; 0 for none. */
u64 arena_take(struct attacker *a, u64 frames, u64 align)
{
	struct arena *arena = &a->arena;
	unsigned long at = ALIGN(arena->next, align), n;

	for (; at + frames <= ARENA_FRAMES; at = ALIGN(at + n + 1, align)) {
		for (n = 0; n < frames; n++)
			if (!is_back(a, arena, at + n) ||
			    guarded_fill(va_of(arena->pa + (at + n) * PAGE_SIZE),
					 0x5ec2e7005ec2e700 | a->id))
				break;
		if (n == frames) {
			arena->next = at + frames;
			return arena->pa + at * PAGE_SIZE;
		}
	}
	return 0;
}

/* Notes that they left. */
void arena_gave(struct arena *arena, u64 pa, u64 frames)
{
	u64 n;

	for (n = 0; n < frames; n++)
		arena->away[(pa - arena->pa) / PAGE_SIZE + n] = 1;
}

/* Looks at all that are away; how many still are. */
unsigned long arena_collect(struct attacker *a, struct arena *arena)
{
	unsigned long n, missing = 0;

	for (n = 0; n < ARENA_FRAMES; n++)
		missing += !is_back(a, arena, n);
	return missing;
}
