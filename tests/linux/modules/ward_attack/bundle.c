// SPDX-License-Identifier: GPL-2.0-only
/* A signed guest: the manifest and the images of a bundle (hyp_core::abi::bundle). */
#include <linux/kernel_read_file.h>
#include <linux/unaligned.h>
#include <linux/vmalloc.h>
#include "attack.h"

#define MAGIC "WARDBND1"
#define HEADER 32
#define ENTRY 24
#define MAX_BUNDLE (64 << 20)

struct bundle bundle;
static void *file;

static bool inside(u64 offset, u64 size, u64 length)
{
	return offset <= length && size <= length - offset;
}

int bundle_load(const char *path)
{
	ssize_t length = kernel_read_file_from_path(path, 0, &file, MAX_BUNDLE, NULL,
						    READING_UNKNOWN);
	const u8 *bytes = file;
	unsigned int n;
	u64 offset;

	if (length < 0)
		return length;
	if (length < HEADER || memcmp(bytes, MAGIC, 8))
		goto bad;
	offset = get_unaligned_le64(bytes + 8);
	bundle.manifest_bytes = get_unaligned_le64(bytes + 16);
	bundle.count = get_unaligned_le32(bytes + 24);
	if (!inside(offset, bundle.manifest_bytes, length) || bundle.manifest_bytes > PAGE_SIZE ||
	    bundle.manifest_bytes < 88 || bundle.count > WARD_MAX_IMAGES ||
	    length < HEADER + ENTRY * bundle.count)
		goto bad;
	bundle.manifest = bytes + offset;
	bundle.vcpus = get_unaligned_le32(bundle.manifest + 20);
	for (n = 0; n < bundle.count; n++) {
		const u8 *entry = bytes + HEADER + ENTRY * n;
		struct image *image = &bundle.images[n];

		offset = get_unaligned_le64(entry);
		image->size = get_unaligned_le64(entry + 8);
		image->ipa = get_unaligned_le64(entry + 16);
		image->bytes = bytes + offset;
		if (!inside(offset, PAGE_ALIGN(image->size), length))
			goto bad;
	}
	return 0;
bad:
	pr_err("ward_attack: %s is no bundle of Ward's\n", path);
	bundle_drop();
	return -EINVAL;
}

void bundle_drop(void)
{
	vfree(file);
	file = NULL;
	bundle.count = 0;
}
