//! Whether a figure grows: the slope of a line through its points that a few odd ones do not bend.

/// The least time that points must span: the slope of a minute, told per hour, is noise.
pub(super) const SPAN: f64 = 300.0;
const HOUR: f64 = 3600.0;

/// What the figure grows by in an hour: the median of the slopes of all pairs of points from `from`
/// on, by Theil (1950) and Sen (1968). `None`: they span less than five minutes.
pub(super) fn per_hour(points: &[(f64, f64)], from: f64) -> Option<f64> {
    let points: Vec<_> = points
        .iter()
        .filter(|(at, value)| *at >= from && value.is_finite())
        .collect();
    let span = points.last()?.0 - points.first()?.0;
    if span < SPAN {
        return None;
    }
    let mut slopes: Vec<f64> = Vec::with_capacity(points.len() * points.len() / 2);
    for (n, (earlier, low)) in points.iter().enumerate() {
        // Close pairs say nothing of hours, and are many.
        let later = points[n + 1..]
            .iter()
            .filter(|(at, _)| at - earlier >= span / 4.0);
        slopes.extend(later.map(|(at, high)| (high - low) / (at - earlier)));
    }
    let middle = slopes.len() / 2;
    let (_, median, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median * HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..240)
            .map(|n| f64::from(n) * 5.0)
            .map(|at| (at, value(at)))
            .collect()
    }

    #[test]
    fn a_leak_is_found_below_noise_and_after_the_warm_up() {
        let saw = |at: f64| (at * 7.0) % 50.0;
        let filling = |at: f64| if at < 300.0 { at * 10.0 } else { 3000.0 };
        let flat = per_hour(&points(|at| filling(at) + saw(at)), 300.0).unwrap();
        assert!(flat.abs() < 20.0, "{flat}");
        let leak = per_hour(&points(|at| filling(at) + saw(at) + at / 10.0), 300.0).unwrap();
        assert!((leak - 360.0).abs() < 20.0, "{leak}");
    }

    #[test]
    fn a_few_odd_points_bend_nothing() {
        let odd = |at: f64| {
            if (at as u64).is_multiple_of(300) {
                1e9
            } else {
                100.0
            }
        };
        assert_eq!(per_hour(&points(odd), 0.0), Some(0.0));
    }

    #[test]
    fn a_short_time_has_no_slope() {
        assert_eq!(per_hour(&points(|at| at)[..60], 0.0), None);
        assert_eq!(per_hour(&points(|at| at), 900.0), None);
        assert_eq!(per_hour(&[], 0.0), None);
    }
}
