// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ward's log as a file: /sys/kernel/debug/ward/log.
 *
 * Each open file has its own cursor, so a reader sees everything that the ring still holds, once.
 * The end of the file is where the log ends now; reading on later gives what came since.
 */
#include <linux/arm-smccc.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ward_abi.h"

/* UID call of the vendor hypervisor service: who answers an HVC. */
#define VENDOR_HYP_UID 0x8600ff01

/* Bytes that one call returns, in x3 to x7. */
#define PIECE (5 * sizeof(u64))

struct reader {
	struct mutex lock;	/* of the rest: two threads may share a file */
	u64 cursor;
	size_t len;
	size_t used;
	u8 bytes[PIECE];
};

/* Fetches the next piece when the last one is used up. */
static int fill(struct reader *reader)
{
	struct arm_smccc_1_2_regs regs = {
		.a0 = WARD_CALL_LOG_READ,
		.a1 = reader->cursor,
	};

	arm_smccc_1_2_hvc(&regs, &regs);
	if ((long)regs.a0 != WARD_OK)
		return -EIO;
	if (regs.a2 > PIECE)
		return -EPROTO;
	reader->cursor = regs.a1;
	reader->len = regs.a2;
	reader->used = 0;
	memcpy(reader->bytes, &regs.a3, PIECE);
	return 0;
}

static ssize_t log_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	struct reader *reader = file->private_data;
	size_t done = 0;
	int err = 0;

	mutex_lock(&reader->lock);
	while (done < size) {
		size_t piece;

		if (reader->used == reader->len) {
			err = fill(reader);
			if (err || !reader->len)
				break;
		}
		piece = min(size - done, reader->len - reader->used);
		if (copy_to_user(to + done, reader->bytes + reader->used, piece)) {
			err = -EFAULT;
			break;
		}
		reader->used += piece;
		done += piece;
	}
	mutex_unlock(&reader->lock);
	/* A stream has no position: pos is NULL. */
	return done ? done : err;
}

static int log_open(struct inode *inode, struct file *file)
{
	struct reader *reader = kzalloc(sizeof(*reader), GFP_KERNEL);

	if (!reader)
		return -ENOMEM;
	mutex_init(&reader->lock);
	file->private_data = reader;
	return stream_open(inode, file);
}

static int log_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations log_fops = {
	.owner = THIS_MODULE,
	.open = log_open,
	.read = log_read,
	.release = log_release,
};

static struct dentry *dir;

static int __init ward_log_init(void)
{
	struct arm_smccc_1_2_regs regs = { .a0 = VENDOR_HYP_UID };

	arm_smccc_1_2_hvc(&regs, &regs);
	if ((u32)regs.a0 != WARD_UID_0 || (u32)regs.a1 != WARD_UID_1 ||
	    (u32)regs.a2 != WARD_UID_2 || (u32)regs.a3 != WARD_UID_3)
		return -ENODEV;
	dir = debugfs_create_dir("ward", NULL);
	debugfs_create_file("log", 0400, dir, NULL, &log_fops);
	return 0;
}

static void __exit ward_log_exit(void)
{
	debugfs_remove(dir);
}

module_init(ward_log_init);
module_exit(ward_log_exit);
MODULE_DESCRIPTION("Ward's log in debugfs");
MODULE_LICENSE("GPL");
