//! The people, places, artists and songs of the sample. All of them are invented.

pub const PEOPLE: u32 = 40;
pub const SONGS: u32 = 4 * ARTISTS;
const ARTISTS: u32 = 32;

/// A listener.
#[derive(Debug)]
pub struct Person {
    pub id: u64,
    pub first_name: &'static str,
    pub last_name: &'static str,
    pub gender: &'static str,
    pub paid: bool,
    pub location: &'static str,
    /// When the listener registered, in milliseconds since 1970.
    pub registration: u64,
}

/// A song. Two artists share one of the titles.
#[derive(Debug, PartialEq, Eq)]
pub struct Song {
    pub artist: &'static str,
    pub title: &'static str,
    /// The length in units of 10 microseconds, because real lengths have five decimals.
    ticks: u64,
}

impl Song {
    pub fn millis(&self) -> u64 {
        self.ticks / 100
    }

    /// Returns the length in seconds, without zeros at the end.
    pub fn length(&self) -> String {
        let text = format!("{}.{:05}", self.ticks / 100_000, self.ticks % 100_000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// Returns the `n`-th person, always the same one.
pub fn person(n: u32) -> Person {
    let (first_name, last_name, gender, paid) = NAMES[(n % PEOPLE) as usize];
    let location = PLACES[n as usize % PLACES.len()];
    let registration = 1_538_352_000_000 + scattered(n, 2_500_000_000);
    Person { id: u64::from(n % PEOPLE) + 2, first_name, last_name, gender, paid, location, registration }
}

/// Returns the `n`-th song. It lasts from two to seven minutes.
pub fn song(n: u32) -> Song {
    let (artist, titles) = TITLES[(n / 4 % ARTISTS) as usize];
    Song { artist, title: titles[(n % 4) as usize], ticks: 12_000_000 + scattered(n, 30_000_000) }
}

/// Returns a number below `most`. It looks random and is always the same for the same `n`.
fn scattered(n: u32, most: u64) -> u64 {
    (u64::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) % most
}

const PLACES: [&str; 12] = [
    "Larkhaven-Fennimoor, QA",
    "Ostervale, QA",
    "Port Quillon-Saltmere, QB",
    "Brindlewick, QB",
    "Tarn Hollow-Eskdrift, QC",
    "Vellamy Falls, QC",
    "Kestrelby-Low Marrow, QD-QE",
    "Copperstile, QE",
    "Ångermere, QE",
    "Wexmoor-Tilliver, QF",
    "Drumloch Bay, QF",
    "Cañada Verdina, QG",
];

/// First name, last name, gender and whether the listener pays.
const NAMES: [(&str, &str, &str, bool); PEOPLE as usize] = [
    ("Zoë", "Ravnsmoor", "F", true),
    ("Odhran", "Pellwick", "M", false),
    ("Marit", "Fenstad", "F", true),
    ("Cosmo", "Abernquist", "M", false),
    ("Łucja", "Wierzbowa", "F", true),
    ("Tobin", "Saltwhistle", "M", true),
    ("Anaïs", "Corvelle", "F", false),
    ("Hamza", "Idrestani", "M", false),
    ("Greta", "Ollivander-Prew", "F", true),
    ("Søren", "Kvistholt", "M", false),
    ("Pilar", "Montebruna", "F", true),
    ("Dewi", "Llanfawr", "M", false),
    ("Ottoline", "Grubb", "F", false),
    ("Ishaan", "Varadkesh", "M", true),
    ("Bronagh", "Tully-Marsh", "F", false),
    ("Edvard", "Skogsminde", "M", true),
    ("Mei", "Tanglu", "F", false),
    ("Ruben", "Achterveld", "M", false),
    ("Sunniva", "Halldis", "F", true),
    ("Kofi", "Amprede", "M", false),
    ("Tamsin", "Penhallock", "F", true),
    ("Lazlo", "Borsodvar", "M", false),
    ("Imani", "Kettleborough", "F", false),
    ("Jonas", "Übelhör", "M", true),
    ("Fern", "Addlestrop", "F", false),
    ("Nikau", "Terangihou", "M", false),
    ("Dorothea", "Plimsole", "F", true),
    ("Yusuf", "Demirköy", "M", false),
    ("Clementine", "Oakapple", "F", false),
    ("Bastien", "Rougemarais", "M", true),
    ("Runa", "Isbrekka", "F", false),
    ("Piers", "Mulberrow", "M", false),
    ("Xiomara", "Quetzalpa", "F", true),
    ("Alasdair", "Finnoch", "M", false),
    ("Noor", "Sahravan", "F", false),
    ("Emeka", "Obidunze", "M", true),
    ("Saskia", "Windekind", "F", false),
    ("Horatio", "Bramblecote", "M", false),
    ("Liv", "Torvanger", "F", true),
    ("Casper", "Dunnevald", "M", false),
];

const TITLES: [(&str, [&str; 4]); ARTISTS as usize] = [
    ("Velvet Turbine", ["Rotor Lullaby", "Idle at Nine", "Slow Governor", "Steam, Then Silence"]),
    ("The Paper Otters", ["Origami River", "Whisker Arithmetic", "Damp Letters", "Fold Here"]),
    ("Möwenlicht", ["Leuchtfeuer Süd", "Über dem Watt", "Salzkante", "Kein Hafen"]),
    ("Plum, Quince & Pear", ["Orchard Closing Time", "Jam, Jar, Jamboree", "Windfall Waltz", "Pip"]),
    (
        "The \"Almost\" Trio",
        ["Two and a Half", "The \"Long\" Way Down", "Nearly Midnight Again", "Fourth Chair Empty"],
    ),
    ("Señora Nube", ["Mañana de Lata", "Lluvia Prestada", "Siete Paraguas", "El Tranvía Azul"]),
    ("DJ Halfpint", ["Pint-Sized Thunder", "Crate 12 (Side B)", "Lift Muzak Riot", "Cassette Weather"]),
    ("Copper Kettle Orchestra", ["Overture for Three Hobs", "Whistle in C", "Descaling", "Tea, Two Sugars"]),
    ("Nachtzug 404", ["Platform Not Found", "Schlafwagen Disco", "Anschluss verpasst", "Kupplung"]),
    (
        "Saltwater Ministers",
        ["Sermon for Gulls", "Collection Plate Blues", "Baptised in Brine", "Pew by the Pier"],
    ),
    ("Ida Quistgaarden", ["Borrowed Bicycle", "Letters I Kept", "Nobody's Allotment", "Second-Hand Sun"]),
    (
        "Björn & the Barometers",
        ["Falling Slowly Fair", "Isobar Romance", "High over Nowhere", "Change (Set Fair Mix)"],
    ),
    (
        "Low Tide Committee",
        ["Minutes of the Last Meeting", "Any Other Business", "Motion to Drift", "Quorum of Crabs"],
    ),
    ("Marrow / Feld", ["Hedge Language", "Plough Song for Machines", "Fallow", "Furrow Forty-One"]),
    ("The Glass Ferrymen", ["Crossing at Noon", "Toll", "See-Through Captain", "Harbour Lamps Off"]),
    ("Tin Cathedral", ["Rust Choir", "Nave of Corrugation", "Evensong for Rain", "Bell Without Rope"]),
    ("Ünderpass Kids", ["Echo Tag", "Sodium Light", "Skate the Culvert", "Under, Over, Under"]),
    ("Lantern Debt", ["Paraffin Promise", "Owed to Joy", "Interest on the Dark", "Wick Economics"]),
    ("The Kilnworkers", ["Cone Six", "Glaze Is a Liar", "Bisque Hearts", "Crackle"]),
    ("Orla Tenbury-Vane", ["Weathercock's Daughter", "Attic Radio", "Blue Enamel Jug", "Rooks at Four"]),
    ("Étoile du Garage", ["Vidange", "Clé de Douze", "Pneu Neige Amour", "Phares Éteints"]),
    (
        "Seven Sleepy Viscounts",
        ["Nap Treaty", "The Pillow Accord", "Snore in D Minor", "Coronation Postponed"],
    ),
    ("Gravel, Inc.", ["Quarterly Results", "Aggregate Demand", "Sharp Sand", "Merger of Pebbles"]),
    (
        "Pavement Astronomers",
        ["Manhole Eclipse", "Telescope for Hire", "Kerbside Perseids", "Streetlamp Occultation"],
    ),
    ("Auntie Static", ["Tuning Between", "Number Station Waltz", "Rabbit-Ear Summer", "Please Stand Away"]),
    ("Mister Umbrellastand", ["Forgotten at the Opera", "Drip", "Hall Table Rag", "Somebody's Brolly"]),
    ("Fjordhest", ["Hovslag", "Blå Seter", "Tåkehorn", "Siste Ferje"]),
    ("Winter Dial Tone", ["Off the Hook (Again)", "Party Line Snow", "Operator, Thaw Me", "Area Code Zero"]),
    (
        "Rua Amarela Nove",
        ["Azulejo Partido", "Elétrico Vinte e Oito e Meio", "Saudade em Saldo", "Padaria às Seis"],
    ),
    ("Hollow Brassworks", ["Valve Oil Confession", "Mute", "Sousaphone Sunrise", "Third Slide"]),
    (
        "Knitwear for Robots",
        ["Purl Harbourmaster", "Cable Stitch Protocol", "Static Cling Anthem", "Rotor Lullaby"],
    ),
    ("Bureau of Lost Maps", ["Here Be Draughts", "Legend, Unfolded", "Contour Lines of You", "North-ish"]),
];
