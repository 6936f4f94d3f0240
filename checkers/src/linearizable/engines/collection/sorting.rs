//! Sorting numbers by a key, in linear time: positions are dense, and calls come nearly sorted.

/// Bits of a key that one pass sorts by.
const DIGIT: u32 = 11;

/// The items in the order of a key; those with equal keys stay in their order.
pub(in crate::linearizable::engines) fn sort_by_key(items: Vec<u32>, key: impl Fn(u32) -> u32) -> Vec<u32> {
    let (least, most) =
        items.iter().fold((u32::MAX, 0), |(least, most), item| (key(*item).min(least), key(*item).max(most)));
    let bits = u32::BITS - most.saturating_sub(least).leading_zeros();
    if items.len() < 1 << DIGIT {
        let mut items = items;
        items.sort_by_key(|item| key(*item));
        return items;
    }
    let mut pairs: Vec<(u32, u32)> = items.into_iter().map(|item| (key(item) - least, item)).collect();
    let mut other = vec![(0, 0); pairs.len()];
    let mut shift = 0;
    while shift < bits {
        let digit = |pair: &(u32, u32)| (pair.0 >> shift) as usize & ((1 << DIGIT) - 1);
        let mut starts = [0_u32; 1 << DIGIT];
        pairs.iter().for_each(|pair| starts[digit(pair)] += 1);
        let mut sum = 0;
        for start in &mut starts {
            sum += std::mem::replace(start, sum);
        }
        for pair in &pairs {
            let start = &mut starts[digit(pair)];
            other[*start as usize] = *pair;
            *start += 1;
        }
        std::mem::swap(&mut pairs, &mut other);
        shift += DIGIT;
    }
    pairs.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use schism_history::Random;

    use super::*;

    #[test]
    fn does_what_a_stable_sort_does() {
        let mut random = Random::new(9, "sorting");
        for _ in 0..40 {
            let count = random.below(6000) as usize;
            let range = 1 << random.below(33);
            let keys: Vec<u32> = (0..count).map(|_| random.below(range) as u32).collect();
            let mut expected: Vec<u32> = (0..count as u32).collect();
            expected.sort_by_key(|at| keys[*at as usize]);
            assert_eq!(sort_by_key((0..count as u32).collect(), |at| keys[at as usize]), expected);
        }
    }
}
