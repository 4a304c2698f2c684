// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel that reads and writes any frame: /proc/ward_peek, whose offsets are physical addresses.
 *
 * It goes through the kernel's own mapping of all memory, as all of a kernel's code can. A read
 * that is refused is an error of the system call; a write is the plain store of a kernel that does
 * not expect one. At SEARCH a word's complement is written, and then the number
 * read of how many words of all memory that can be read are the same but for their lower bits.
 *
 * CALL makes a hypervisor call, with what any kernel can put into x0 to x7, and has its answer.
 * vcpu_run is left out: it needs what KVM does around it.
 */
#include <linux/arm-smccc.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <ward_abi.h>

#define SEARCH (1LL << 62)
#define CALL _IOWR('W', 1, u64[8])
/* Lower bits in which words differ that are looked for. */
#define LOWER 0xfffULL

/* The complement, so that what is looked for is not found here, or in a register of ours. */
static u64 unwanted;

/* Memory that the kernel has mapped, whoever has it now. */
static bool memory(loff_t at, size_t size)
{
	return at >= 0 && size <= PAGE_SIZE - offset_in_page(at) && pfn_valid(PHYS_PFN(at));
}

static u64 search(void)
{
	u64 *copy = kmalloc(PAGE_SIZE, GFP_KERNEL), found = 0;
	unsigned long pfn, last = pgdat_end_pfn(NODE_DATA(0));
	size_t n;

	if (!copy)
		return 0;
	for (pfn = 0; pfn < last; pfn++) {
		if (!pfn_valid(pfn) || virt_to_page(copy) == pfn_to_page(pfn))
			continue;
		if (copy_from_kernel_nofault(copy, pfn_to_kaddr(pfn), PAGE_SIZE))
			continue;
		for (n = 0; n < PAGE_SIZE / sizeof(*copy); n++)
			found += ((copy[n] ^ unwanted) | LOWER) == U64_MAX;
		cond_resched();
	}
	memzero_explicit(copy, PAGE_SIZE);
	kfree(copy);
	return found;
}

static ssize_t peek_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	void *copy;
	ssize_t err;

	if (*pos == SEARCH) {
		u64 found = search();

		return size == sizeof(found) && !copy_to_user(to, &found, size) ? size : -EINVAL;
	}
	if (!memory(*pos, size))
		return -ENXIO;
	copy = kmalloc(size, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	err = copy_from_kernel_nofault(copy, phys_to_virt(*pos), size);
	if (!err && copy_to_user(to, copy, size))
		err = -EFAULT;
	kfree(copy);
	return err ? err : size;
}

static ssize_t peek_write(struct file *file, const char __user *from, size_t size, loff_t *pos)
{
	void *copy;

	if (*pos == SEARCH)
		return size == sizeof(unwanted) && !copy_from_user(&unwanted, from, size) ? size : -EINVAL;
	if (!memory(*pos, size))
		return -ENXIO;
	copy = memdup_user(from, size);
	if (IS_ERR(copy))
		return PTR_ERR(copy);
	memcpy(phys_to_virt(*pos), copy, size);
	kfree(copy);
	return size;
}

static loff_t peek_seek(struct file *file, loff_t to, int whence)
{
	return whence == SEEK_SET ? (file->f_pos = to) : -EINVAL;
}

static long peek_ioctl(struct file *file, unsigned int command, unsigned long at)
{
	struct arm_smccc_1_2_regs args = {}, res;
	u64 words[8];

	if (command != CALL)
		return -ENOTTY;
	if (copy_from_user(words, (void __user *)at, sizeof(words)))
		return -EFAULT;
	if (words[0] == WARD_CALL_VCPU_RUN)
		return -EPERM;
	memcpy(&args, words, sizeof(words));
	arm_smccc_1_2_hvc(&args, &res);
	memcpy(words, &res, sizeof(words));
	return copy_to_user((void __user *)at, words, sizeof(words)) ? -EFAULT : 0;
}

static const struct proc_ops peek_ops = {
	.proc_ioctl = peek_ioctl,
	.proc_read = peek_read,
	.proc_write = peek_write,
	.proc_lseek = peek_seek,
};

static int __init ward_peek_init(void)
{
	return proc_create("ward_peek", 0600, NULL, &peek_ops) ? 0 : -ENOMEM;
}

static void __exit ward_peek_exit(void)
{
	remove_proc_entry("ward_peek", NULL);
}

module_init(ward_peek_init);
module_exit(ward_peek_exit);
MODULE_DESCRIPTION("Reads and writes any frame, for tests");
MODULE_LICENSE("GPL");
