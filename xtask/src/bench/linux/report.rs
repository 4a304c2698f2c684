//! Reading what the machines said, and the table of it.

use anyhow::{Context, Result, bail};

/// The most that a host may be slower beside Ward, in thousandths of the time without.
const AIM: u64 = 1010;
/// The most of RAM that Ward may take, in hundredths of a per cent.
const MEMORY_AIM: u64 = 30;

/// What the three machines counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Costs {
    /// The command of each machine.
    pub(super) commands: Vec<String>,
    /// For each machine, each load and its instructions.
    pub(super) counts: Vec<Vec<(String, u64)>>,
    /// Ward itself, where it is: without an SMMU, with one.
    pub(super) wards: Vec<Ward>,
}

/// What Ward itself costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ward {
    /// Instructions until it entered the host.
    pub(super) boot: u64,
    /// What it took: KiB, and hundredths of a per cent of RAM.
    pub(super) memory: (u64, u64),
}

impl Costs {
    /// All machines did the same.
    pub(super) fn check(&self) -> Result<()> {
        let names = |counts: &Vec<(String, u64)>| -> Vec<String> {
            counts.iter().map(|(name, _)| name.clone()).collect()
        };
        let first = self.counts.first().map(names).unwrap_or_default();
        if self.counts.iter().any(|counts| names(counts) != first) {
            bail!("the machines did not do the same: {:?}", self.counts);
        }
        Ok(())
    }

    /// What differs from another measurement by more than `thousandths`, one sentence each.
    pub(crate) fn differences(&self, other: &Costs, thousandths: u64) -> Vec<String> {
        let all = |costs: &Costs| -> Vec<(String, u64)> {
            let boot = |ward: &Ward| ("Ward's boot".to_owned(), ward.boot);
            let boots = costs.wards.iter().map(boot);
            costs
                .counts
                .iter()
                .flatten()
                .cloned()
                .chain(boots)
                .collect()
        };
        let far = |a: u64, b: u64| a.abs_diff(b) * 1000 > thousandths * a.max(b);
        all(self)
            .into_iter()
            .zip(all(other))
            .filter(|((_, a), (_, b))| far(*a, *b))
            .map(|((name, a), (_, b))| format!("{name}: {a}, then {b}"))
            .collect()
    }
}

/// Reads the lines `BENCH NAME COUNT instructions`.
pub(super) fn read(lines: &[String]) -> Result<Vec<(String, u64)>> {
    if let Some(failed) = lines.iter().find(|line| line.starts_with("FAILED ")) {
        bail!("the program that counts said: {failed}");
    }
    let rest = lines.iter().filter_map(|line| line.strip_prefix("BENCH "));
    rest.map(|rest| {
        let words: Vec<&str> = rest.split(' ').collect();
        let count = match words[..] {
            [_, count, "instructions"] => count.parse().ok(),
            _ => None,
        };
        let count = count.with_context(|| format!("the line `BENCH {rest}` is torn"))?;
        Ok((words[0].to_owned(), count))
    })
    .collect()
}

/// `N ticks of F Hz` in nanoseconds, each of which is one instruction.
pub(super) fn ticks_to_instructions(text: &str) -> Option<u64> {
    let (ticks, rest) = text.split_once(" ticks of ")?;
    let frequency: u128 = rest.strip_suffix(" Hz")?.parse().ok()?;
    let ticks: u128 = ticks.parse().ok()?;
    u64::try_from((ticks * 1_000_000_000).checked_div(frequency)?).ok()
}

/// `… : N KiB, P.PP % of RAM` of Ward's line about its memory.
pub(super) fn memory(lines: &[String]) -> Result<(u64, u64)> {
    let line = lines
        .iter()
        .find(|line| line.starts_with("ward: memory of Ward's own: "));
    line.and_then(|line| {
        let (rest, _) = line.split_once(" % of RAM")?;
        let (_, numbers) = rest.rsplit_once(": ")?;
        let (kib, share) = numbers.split_once(" KiB, ")?;
        let (whole, part) = share.split_once('.')?;
        Some((
            kib.parse().ok()?,
            whole.parse::<u64>().ok()? * 100 + part.parse::<u64>().ok()?,
        ))
    })
    .context("Ward did not say what memory it took (`ward: memory of Ward's own: …`)")
}

/// `1.003` for 1003 thousandths.
fn thousandths(value: u64) -> String {
    format!("{}.{:03}", value / 1000, value % 1000)
}

fn missed(is: bool) -> &'static str {
    if is { "missed" } else { "" }
}

/// The tables in Markdown, with the commands.
pub(crate) fn render(costs: &Costs) -> String {
    let mut text = "| load | at EL1 | at EL2 | beside Ward | with an SMMU | to EL1 | to EL2 | \
                    SMMU to EL2 | aim | |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n"
        .to_owned();
    if let [el1, el2, ward, smmu] = &costs.counts[..] {
        for (((one, two), three), four) in el1.iter().zip(el2).zip(ward).zip(smmu) {
            // Rounded up, so that a miss by little is one.
            let ratio = |count: u64, to: u64| (count * 1000).div_ceil(to.max(1));
            let ratios = [(three, one), (three, two), (four, two)];
            let ratios = ratios.map(|(count, to)| ratio(count.1, to.1));
            let [to_el1, to_el2, smmu_to_el2] = ratios.map(thousandths);
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} | {to_el1} | {to_el2} | {smmu_to_el2} | {} | {} |\n",
                one.0,
                one.1,
                two.1,
                three.1,
                four.1,
                thousandths(AIM),
                missed(ratios.iter().any(|ratio| *ratio > AIM)),
            ));
        }
    }
    text.push_str(
        "\n| what | count | with an SMMU | unit | aim | |\n|---|---:|---:|---|---:|---|\n",
    );
    if let [bare, smmu] = costs.wards[..] {
        let share = |(_, share): (u64, u64)| format!("{}.{:02}", share / 100, share % 100);
        text.push_str(&format!(
            "| Ward's boot, until it enters the host | {} | {} | instructions |  |  |\n\
             | memory taken from the host, of 2 GiB | {} | {} | KiB |  |  |\n\
             | the same | {} | {} | % of RAM | 0.{MEMORY_AIM} without an SMMU | {} |\n",
            bare.boot,
            smmu.boot,
            bare.memory.0,
            smmu.memory.0,
            share(bare.memory),
            share(smmu.memory),
            missed(bare.memory.1 > MEMORY_AIM),
        ));
    }
    text.push_str("\nThe commands, in the order of the columns:\n\n```sh\n");
    for command in &costs.commands {
        text.push_str(command);
        text.push('\n');
    }
    text.push_str("```\n");
    text
}

#[cfg(test)]
mod tests;
