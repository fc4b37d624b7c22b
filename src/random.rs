//! Random numbers that a seed means for ever, on every machine.

use uuid::{Builder, Uuid};

/// SplitMix64, whose numbers no release of a library can change.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of one thing among those of a seed: two of them, or two seeds, have nothing in common.
    pub fn new(seed: u64, index: u64) -> Self {
        Self(mix(mix(seed) ^ index))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to less than `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        let scaled = (u128::from(self.next()) * u128::from(end)) >> 64;
        u64::try_from(scaled).expect("less than the end")
    }

    pub fn small(&mut self, end: u32) -> u32 {
        u32::try_from(self.below(u64::from(end))).expect("less than the end")
    }

    /// True `times` times in `many`.
    pub fn one_in(&mut self, many: u64, times: u64) -> bool {
        self.below(many) < times
    }

    pub fn pick<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        let place = self.below(values.len() as u64);
        &values[usize::try_from(place).expect("less than the length")]
    }

    pub fn weighted<'a, T>(&mut self, values: &'a [(T, u64)]) -> &'a T {
        let mut place = self.below(values.iter().map(|(_, weight)| weight).sum());
        let found = values.iter().find(|(_, weight)| {
            let here = place < *weight;
            place = place.saturating_sub(*weight);
            here
        });
        found.map(|(value, _)| value).expect("the place is less than the sum")
    }

    pub fn hex32(&mut self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }

    pub fn uuid(&mut self) -> Uuid {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317, "the first number of SplitMix64");
        assert_eq!(random.next(), 3_203_168_211_198_807_973, "the second number of SplitMix64");
    }
}
