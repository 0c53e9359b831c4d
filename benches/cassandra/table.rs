//! The closing table: each figure, what it is compared with, and whether it reaches its goal.

pub struct Line {
    pub figure: String,
    pub value: String,
    /// The name and the value of what the figure is compared with.
    pub beside: String,
    pub ratio: Option<f64>,
    pub goal: Goal,
}

#[derive(Clone, Copy)]
pub enum Goal {
    None,
    /// The ratio must be at least this.
    Least(f64),
    /// The ratio must be at most this.
    Most(f64),
    /// The first value must be at most the second.
    Within(f64, f64),
}

impl Line {
    fn verdict(&self) -> (String, &'static str) {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        let (goal, reached) = match self.goal {
            Goal::None => return ("-".to_owned(), ""),
            Goal::Least(goal) => (format!(">= {goal}"), ratio >= goal),
            Goal::Most(goal) => (format!("<= {goal}"), ratio <= goal),
            Goal::Within(value, most) => (format!("<= {most}"), value <= most),
        };
        (goal, if reached { "reached" } else { "MISSED" })
    }
}

pub fn print(lines: &[Line]) {
    let line = |cells: [&str; 6]| {
        let [figure, value, beside, ratio, goal, verdict] = cells;
        let text = format!("{figure:<38} {value:>10}  {beside:<46} {ratio:>6}  {goal:<7} {verdict}");
        println!("{}", text.trim_end());
    };
    println!();
    line(["needledrop", "value", "compared with", "ratio", "goal", ""]);
    for one in lines {
        let ratio = one.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let (goal, verdict) = one.verdict();
        line([&one.figure, &one.value, &one.beside, &ratio, &goal, verdict]);
    }
}
