//! From figures to places on a picture. Every place is finite and inside, whatever the figures are.

/// One axis: figures between `low` and `high` are between the places `from` and `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    /// From 0 to exactly `high`.
    pub(super) fn exact(high: f64, from: f64, to: f64) -> Self {
        let high = if high.is_finite() && high > 0.0 {
            high
        } else {
            1.0
        };
        Self {
            low: 0.0,
            high,
            from,
            to,
            logarithmic: false,
        }
    }

    /// From 0 to a round figure that is at least `high`.
    pub(super) fn linear(high: f64, from: f64, to: f64) -> Self {
        let exact = Self::exact(high, from, to);
        let step = exact.step();
        Self {
            high: (exact.high / step).ceil() * step,
            ..exact
        }
    }

    /// Powers of ten around `low` and `high`: at least one of them.
    pub(super) fn logarithmic(low: f64, high: f64, from: f64, to: f64) -> Self {
        let positive = |value: f64| {
            if value.is_finite() && value > 0.0 {
                value
            } else {
                1.0
            }
        };
        let (low, high) = (positive(low).log10().floor(), positive(high).log10().ceil());
        Self {
            low: 10f64.powf(low),
            high: 10f64.powf(high.max(low + 1.0)),
            from,
            to,
            logarithmic: true,
        }
    }

    /// The place of a figure. What lies outside is put on the edge.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if value.is_finite() {
            value.clamp(self.low, self.high)
        } else {
            self.low
        };
        let part = if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + part * (self.to - self.from)
    }

    /// Figures to write beside the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let tick: Box<dyn Fn(i32) -> f64> = if self.logarithmic {
            let first = self.low.log10().round() as i32;
            Box::new(move |n| 10f64.powi(first + n))
        } else {
            let step = self.step();
            Box::new(move |n| f64::from(n) * step)
        };
        // A little more than the end, because steps do not add up exactly.
        (0..100)
            .map(tick)
            .take_while(|tick| *tick <= self.high * 1.000_001)
            .collect()
    }

    /// Between two ticks: 1, 2 or 5 times a power of ten, so that there are three to eight of them.
    fn step(&self) -> f64 {
        let rough = (self.high - self.low) / 4.0;
        let power = 10f64.powf(rough.log10().floor());
        let round = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .find(|round| rough <= round * power)
            .unwrap_or(10.0);
        round * power
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_inside_whatever_the_figures_are() {
        let odd = [
            0.0,
            -1.0,
            1.0,
            7.3,
            1e-9,
            1e12,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        for high in odd {
            for scale in [
                Scale::exact(high, 10.0, 90.0),
                Scale::linear(high, 10.0, 90.0),
                Scale::logarithmic(high, high, 10.0, 90.0),
            ] {
                for value in odd {
                    assert!(
                        (10.0..=90.0).contains(&scale.at(value)),
                        "{value} on {scale:?}"
                    );
                }
                let ticks = scale.ticks();
                assert!((2..=30).contains(&ticks.len()), "{ticks:?} on {scale:?}");
            }
        }
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            Scale::linear(230.0, 0.0, 1.0).ticks(),
            [0.0, 100.0, 200.0, 300.0]
        );
        assert_eq!(
            Scale::linear(4.0, 0.0, 1.0).ticks(),
            [0.0, 1.0, 2.0, 3.0, 4.0]
        );
        assert_eq!(
            Scale::logarithmic(3.0, 800.0, 0.0, 1.0).ticks(),
            [1.0, 10.0, 100.0, 1000.0]
        );
    }

    #[test]
    fn an_axis_may_run_upwards() {
        let scale = Scale::linear(100.0, 80.0, 0.0);
        assert_eq!(
            (scale.at(0.0), scale.at(50.0), scale.at(100.0)),
            (80.0, 40.0, 0.0)
        );
    }
}
