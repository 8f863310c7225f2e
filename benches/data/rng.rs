//! Chance that is the same on every run: SplitMix64, and the few distributions that companies follow.

/// A source of chance.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A source that `seed` determines; `stream` sets several of one seed apart.
    pub fn new(seed: u64, stream: u64) -> Rng {
        let mut rng = Rng(seed ^ stream.wrapping_mul(0xa076_1d64_78bd_642f));
        rng.next();
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between 0 and 1, without 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something happens that happens with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A whole number from `from` through `to`.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + (self.unit() * (to - from + 1) as f64) as i64
    }

    /// One of several.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[(self.unit() * of.len() as f64) as usize]
    }

    /// One of several with their weights.
    pub fn weighted<'a, T>(&mut self, of: &'a [(f64, T)]) -> &'a T {
        let mut left = self.unit() * of.iter().map(|(weight, _)| weight).sum::<f64>();
        for (weight, value) in of {
            left -= weight;
            if left < 0.0 {
                return value;
            }
        }
        &of[of.len() - 1].1
    }

    /// Waiting times with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Sizes that spread by factors around a median.
    pub fn log_normal(&mut self, median: f64, spread: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        median * (spread * normal).exp()
    }

    /// A rank below `count` with a long tail: each rank about as often as one over itself.
    pub fn rank(&mut self, count: usize) -> usize {
        let rank = (count as f64 + 1.0).powf(self.unit());
        (rank as usize - 1).min(count - 1)
    }
}
