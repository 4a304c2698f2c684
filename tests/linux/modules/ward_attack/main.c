// SPDX-License-Identifier: GPL-2.0-only
/*
 * A malicious host. `echo SEED CALLS > /proc/ward_attack` attacks Ward from every CPU that is
 * online, CALLS calls on each, and returns when all is over; reading the file says what came of
 * it, one line `ok NAME` or `FAILED NAME: why` for each check. The machine may do anything else
 * meanwhile. `bundle=PATH` names a signed guest; without one no protected VM gets far.
 */
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include "attack.h"

#define UID_FUNCTION 0x8600ff01
/* Calls between two checks of the invariants, on each CPU. */
#define CHECK_EVERY 1024
#define FAILURES 16

static char *bundle_path = "";
module_param_named(bundle, bundle_path, charp, 0444);
MODULE_PARM_DESC(bundle, "a signed guest, made by `ward bundle`");

struct target target;
static DEFINE_MUTEX(busy);
static u64 seed, calls;
static bool ran;

static DEFINE_SPINLOCK(failures_lock);
static char failures[FAILURES][160];
static unsigned int failure_count;

void fail(const char *name, const char *fmt, ...)
{
	va_list args;
	unsigned int at;

	spin_lock(&failures_lock);
	at = failure_count++;
	if (at < FAILURES) {
		int n = scnprintf(failures[at], sizeof(failures[at]), "%s: ", name);

		va_start(args, fmt);
		vscnprintf(failures[at] + n, sizeof(failures[at]) - n, fmt, args);
		va_end(args);
		pr_err("ward_attack: FAILED %s\n", failures[at]);
	}
	spin_unlock(&failures_lock);
}

/* One number of all threads', as it is now. */
#define SUM(field)                                                             \
	({                                                                     \
		u64 all = 0;                                                   \
		unsigned int thread;                                           \
		for (thread = 0; thread < target.threads; thread++)            \
			all += target.attackers[thread]->field;                \
		all;                                                           \
	})

/* --- threads --- */

struct job {
	struct attacker *attacker;
	void (*work)(struct attacker *a);
	struct completion done;
};

static int thread(void *data)
{
	struct job *job = data;

	job->work(job->attacker);
	/* Not a mere complete: nothing of this module may run after the last round. */
	kthread_complete_and_exit(&job->done, 0);
}

/* One thread for each CPU; where its CPU goes away it goes on elsewhere. */
static void on_all(void (*work)(struct attacker *a))
{
	struct job *jobs = kcalloc(target.threads, sizeof(*jobs), GFP_KERNEL);
	unsigned int n;

	if (!jobs) {
		fail("memory", "none for threads");
		return;
	}
	for (n = 0; n < target.threads; n++) {
		struct job *job = &jobs[n];
		struct task_struct *task;

		job->attacker = target.attackers[n];
		job->work = work;
		init_completion(&job->done);
		task = kthread_create(thread, job, "ward_attack/%u", n);
		if (IS_ERR(task)) {
			fail("memory", "no thread %u", n);
			complete(&job->done);
			continue;
		}
		/* Refused when the CPU has just gone: then anywhere. */
		set_cpus_allowed_ptr(task, cpumask_of(job->attacker->id));
		wake_up_process(task);
	}
	for (n = 0; n < target.threads; n++)
		while (!wait_for_completion_timeout(&jobs[n].done, 10 * HZ))
			pr_info("ward_attack: %llu calls\n", SUM(calls));
	kfree(jobs);
}

static void chaos(struct attacker *a)
{
	u64 next_check = a->calls + CHECK_EVERY;

	a->quiet = false;
	while (a->calls < a->limit) {
		u64 what = below(a, 400);

		if (what < 3)
			normal_life(a);
		else if (what < 4)
			protected_life(a, below(a, CHEATS));
		else if (what < 100)
			other_attack(a);
		else
			random_call(a);
		if (a->calls >= next_check) {
			check_invariants(a);
			next_check = a->calls + CHECK_EVERY;
		}
	}
}

static void quiet(struct attacker *a)
{
	u64 early, n;

	a->quiet = true;
	early = a->lives - a->full_lives;
	for (n = 0; n < 2; n++) {
		normal_life(a);
		protected_life(a, HONEST);
	}
	protected_life(a, EARLY);
	/* Also for want of frames, of which no step tells. */
	if (a->lives - a->full_lives != early)
		fail("quiet-life", "a life came to no end");
	protected_life(a, MANIFEST);
	protected_life(a, IMAGE);
}

/* --- one round --- */

static void free_all(void)
{
	unsigned int n;

	for (n = 0; n < target.threads; n++) {
		arena_free(&target.attackers[n]->arena);
		vfree(target.attackers[n]);
		target.attackers[n] = NULL;
	}
	target.threads = 0;
	arena_free(&target.pool);
}

static int make_all(void)
{
	unsigned int cpu;
	int error = arena_make(&target.pool);

	if (error)
		return error;
	atomic64_set(&target.checks, 0);
	atomic64_set(&target.frames_checked, 0);
	cpus_read_lock();
	for_each_online_cpu(cpu) {
		struct attacker *a;

		if (target.threads == MAX_THREADS)
			break;
		a = vzalloc(sizeof(*a));
		if (!a)
			error = -ENOMEM;
		else
			error = arena_make(&a->arena);
		if (error) {
			vfree(a);
			break;
		}
		a->id = cpu;
		a->random = seed << 8 | cpu;
		a->limit = calls;
		target.attackers[target.threads++] = a;
	}
	cpus_read_unlock();
	if (error)
		free_all();
	return error;
}

/* Everything a round left behind goes back to the host. */
static void settle(struct attacker *a)
{
	unsigned long n, pool = 0;
	u64 vm;

	for (vm = 1; vm <= target.max_vms; vm++)
		if (stat(a, vm, WARD_STAT_VM_STATE) != ~0ULL)
			destroy(a, vm);
	if (stat(a, 0, WARD_STAT_VM_FRAMES))
		fail("frames", "%llu frames are VMs' after all were destroyed",
		     stat(a, 0, WARD_STAT_VM_FRAMES));
	if (stat(a, 0, WARD_STAT_HOST_FRAMES) + stat(a, 0, WARD_STAT_HYP_FRAMES) !=
	    stat(a, 0, WARD_STAT_FRAMES))
		fail("frames", "host's and Ward's are not all");
	for (n = 0; n < target.threads; n++)
		pool += arena_collect(a, &target.attackers[n]->arena);
	/* Only what was given to the host's own tables stays away; lives give nothing there. */
	if (pool)
		fail("frames", "%lu frames of lives did not come back", pool);
}

static int attack(void)
{
	struct attacker *a;
	int error = make_all();

	if (error)
		return error;
	failure_count = 0;
	a = target.attackers[0];
	target.roots = info(a, WARD_INFO_ROOT_FRAMES);
	target.max_vms = info(a, WARD_INFO_MAX_VMS);
	check_probe(a);
	check_invariants(a); /* also names an address of Ward's */
	if (failure_count) {
		free_all();
		return -EIO;
	}
	gift(a);
	on_all(chaos);
	settle(a);
	on_all(check_invariants);
	on_all(quiet);
	settle(a);
	on_all(check_invariants);
	ran = true;
	return 0;
}

/* --- the file --- */

static const char *const names[KINDS] = {
	[WARD_CALL_VERSION & 0x3f] = "version",
	[WARD_CALL_INFO & 0x3f] = "info",
	[WARD_CALL_HOST_DONATE & 0x3f] = "host_donate",
	[WARD_CALL_LOG_READ & 0x3f] = "log_read",
	[WARD_CALL_STAT_READ & 0x3f] = "stat_read",
	[WARD_CALL_VM_REGISTER & 0x3f] = "vm_register",
	[WARD_CALL_VCPU_REGISTER & 0x3f] = "vcpu_register",
	[WARD_CALL_VM_DONATE & 0x3f] = "vm_donate",
	[WARD_CALL_VM_RECLAIM_POOL & 0x3f] = "vm_reclaim_pool",
	[WARD_CALL_VM_SET_BOOT_INFO & 0x3f] = "vm_set_boot_info",
	[WARD_CALL_VM_REMAP_IMAGE & 0x3f] = "vm_remap_image",
	[WARD_CALL_VM_VERIFY_IMAGES & 0x3f] = "vm_verify_images",
	[WARD_CALL_VCPU_RUN & 0x3f] = "vcpu_run",
	[WARD_CALL_VM_MAP & 0x3f] = "vm_map",
	[WARD_CALL_VM_UNMAP & 0x3f] = "vm_unmap",
	[WARD_CALL_VM_WRITE_PROTECT & 0x3f] = "vm_write_protect",
	[WARD_CALL_VM_AGE & 0x3f] = "vm_age",
	[WARD_CALL_VM_MAP_IO & 0x3f] = "vm_map_io",
	[WARD_CALL_VM_CLEAR_RANGE & 0x3f] = "vm_clear_range",
	[WARD_CALL_VM_SET_CNTVOFF & 0x3f] = "vm_set_cntvoff",
	[WARD_CALL_VM_POWER_OFF & 0x3f] = "vm_power_off",
	[WARD_CALL_VM_DESTROY & 0x3f] = "vm_destroy",
	[WARD_CALL_SMMU_ALLOC & 0x3f] = "smmu_alloc",
	[WARD_CALL_SMMU_FREE & 0x3f] = "smmu_free",
	[WARD_CALL_SMMU_MAP & 0x3f] = "smmu_map",
	[WARD_CALL_SMMU_CLEAR & 0x3f] = "smmu_clear",
	[WARD_CALL_SMMU_IOVA_TO_PHYS & 0x3f] = "smmu_iova_to_phys",
	[WARD_CALL_ENCRYPT_BUF & 0x3f] = "encrypt_buf",
	[WARD_CALL_DECRYPT_BUF & 0x3f] = "decrypt_buf",
	[WARD_CALL_SAVE_CRYPT_VCPU & 0x3f] = "save_crypt_vcpu",
	[WARD_CALL_LOAD_CRYPT_VCPU & 0x3f] = "load_crypt_vcpu",
	[KIND_UNKNOWN] = "(no call)",
	[KIND_STUB] = "(EL2 stub)",
	[KIND_IMMEDIATE] = "(hvc #n)",
	[KIND_SMC] = "(smc)",
	[KIND_PSCI] = "(psci)",
	[KIND_REGISTER] = "(register)",
	[KIND_TOUCH] = "(touch)",
	[KIND_CHECK] = "(check)",
};

/* Calls that must have succeeded, or the round saw only the first check of each. */
static bool must_succeed(unsigned int kind)
{
	if (kind < (WARD_CALL_VERSION & 0x3f) || kind > (WARD_CALL_VM_DESTROY & 0x3f) || !names[kind])
		return kind == KIND_CHECK;
	if (kind >= (WARD_CALL_VM_SET_BOOT_INFO & 0x3f) &&
	    kind <= (WARD_CALL_VM_VERIFY_IMAGES & 0x3f))
		return bundle.count;
	return true;
}

static u64 sum(unsigned int kind, unsigned int result)
{
	u64 sum = 0;
	unsigned int n;

	for (n = 0; n < target.threads; n++)
		sum += target.attackers[n]->count[kind][result];
	return sum;
}

static void show_histogram(struct seq_file *out)
{
	unsigned int kind, n;

	seq_puts(out, "# call, done, again, then each error's count: -1 to -13, other\n");
	for (kind = 0; kind < KINDS; kind++) {
		u64 all = 0;

		for (n = 0; n < RESULTS; n++)
			all += sum(kind, n);
		if (!all)
			continue;
		seq_printf(out, "CALLS %-18s %7llu %6llu", names[kind] ?: "(unknown)",
			   sum(kind, 0), sum(kind, 1));
		for (n = 2; n < RESULTS; n++)
			if (sum(kind, n) && n == RESULTS - 1)
				seq_printf(out, " other:%llu", sum(kind, n));
			else if (sum(kind, n))
				seq_printf(out, " -%u:%llu", n - 1, sum(kind, n));
		seq_putc(out, '\n');
	}
}

static int show(struct seq_file *out, void *unused)
{
	unsigned int kind, n, shallow = 0;

	if (mutex_lock_interruptible(&busy))
		return -EINTR;
	if (!ran) {
		seq_puts(out, "nothing was done: echo SEED CALLS > /proc/ward_attack\n");
		goto out;
	}
	seq_printf(out, "attack: seed %llu, %u CPUs, %llu calls, %llu lives, %llu of them full, %llu of these protected\n",
		   seed, target.threads, SUM(calls), SUM(lives), SUM(full_lives),
		   SUM(protected_lives));
	seq_printf(out, "attack: %llu runs of vCPUs, %llu frames came back zeroed, %lld checks of invariants over %lld records, at last %llu leaves and %llu tables\n",
		   SUM(runs), SUM(returned), atomic64_read(&target.checks),
		   atomic64_read(&target.frames_checked), target.leaves, target.tables);
	show_histogram(out);
	for (kind = 0; kind < KINDS; kind++)
		if (must_succeed(kind) && !sum(kind, 0) && !sum(kind, 1)) {
			seq_printf(out, "FAILED attack-depth: %s never succeeded\n", names[kind]);
			shallow++;
		}
	for (n = 0; n < min(failure_count, FAILURES); n++)
		seq_printf(out, "FAILED attack-%s\n", failures[n]);
	if (failure_count > FAILURES)
		seq_printf(out, "FAILED attack: %u more\n", failure_count - FAILURES);
	if (!failure_count && !shallow)
		seq_printf(out, "ok attack: %llu calls, no invariant broken, every frame back\n",
			   SUM(calls));
out:
	mutex_unlock(&busy);
	return 0;
}

static int open(struct inode *inode, struct file *file)
{
	return single_open(file, show, NULL);
}

static ssize_t write(struct file *file, const char __user *from, size_t length, loff_t *at)
{
	char text[64];
	int error;

	if (length >= sizeof(text) || copy_from_user(text, from, length))
		return -EINVAL;
	text[length] = 0;
	if (mutex_lock_interruptible(&busy))
		return -EINTR;
	free_all();
	ran = false;
	error = sscanf(text, "%llu %llu", &seed, &calls) == 2 ? attack() : -EINVAL;
	mutex_unlock(&busy);
	return error ? error : length;
}

static const struct proc_ops operations = {
	.proc_open = open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = write,
};

static int __init attack_init(void)
{
	struct words w = { .x = { UID_FUNCTION } };
	int error;

	if (guarded_hvc(w.x) || w.x[0] != WARD_UID_0 || w.x[1] != WARD_UID_1) {
		pr_err("ward_attack: Ward is not here\n");
		return -ENODEV;
	}
	if (*bundle_path) {
		error = bundle_load(bundle_path);
		if (error) {
			pr_err("ward_attack: cannot read %s\n", bundle_path);
			return error;
		}
	}
	if (!proc_create("ward_attack", 0600, NULL, &operations)) {
		bundle_drop();
		return -ENOMEM;
	}
	return 0;
}

static void __exit attack_exit(void)
{
	remove_proc_entry("ward_attack", NULL);
	free_all();
	bundle_drop();
}

module_init(attack_init);
module_exit(attack_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A host that attacks Ward");
