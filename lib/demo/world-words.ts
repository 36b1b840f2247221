/**
 * The words of the world: the harbour of Brinmouth and the valley behind it. Four things vary in a letter from there, and each has
 * four classes that the letter never names: what a cargo is made of, which walk of life a trade belongs to, how the writer feels, and what the
 * writer wants of the reader.
 */

/** One class of words. Its `customs` are what people of the valley do about such a word, one for each custom of the theme. */
export interface WordClass {
  readonly words: readonly string[];
  readonly customs: readonly string[];
}

/** A thing that varies, its four classes, and the questions about its customs (custom i is asked for by any of `questions[i]`). */
export interface Theme {
  readonly questions: readonly (readonly string[])[];
  /** How an almanac states custom i of a word: "{word}" and "{custom}" are filled in. */
  readonly sayings: readonly string[];
  readonly classes: readonly WordClass[];
}

export const GOODS: Theme = {
  questions: [
    ["Where is the cargo kept?", "In which place does the cargo lie?"],
    ["Who weighs the cargo?", "Who counts the cargo in?"],
    ["What is laid over the cargo?", "What covers the cargo?"],
  ],
  sayings: [
    "In Brinmouth {word} is kept in the {custom}.",
    "There {word} is weighed by the {custom}.",
    "One lays {custom} over {word}.",
  ],
  classes: [
    {
      words: ["herring", "barley", "cheese", "apples", "honey", "butter", "beans"],
      customs: ["cellar", "cook", "straw"],
    },
    {
      words: ["wool", "linen", "silk", "canvas", "felt", "velvet", "yarn"],
      customs: ["loft", "widow", "paper"],
    },
    {
      words: ["nails", "copper", "tin", "anchors", "kettles", "blades", "hinges"],
      customs: ["vault", "warden", "chains"],
    },
    {
      words: ["planks", "oak", "staves", "masts", "cork", "poles", "beams"],
      customs: ["yard", "porter", "tar"],
    },
  ],
};

export const TRADES: Theme = {
  questions: [
    ["Where does the writer meet friends?", "Where would you find the writer at noon?"],
    ["Which bell calls the writer?", "What bell does the writer wake to?"],
    ["What does the writer drink?", "What is in the writer's cup?"],
  ],
  sayings: [
    "At noon every {word} sits by the {custom}.",
    "A {word} wakes to the {custom} bell.",
    "Every {word} drinks {custom}.",
  ],
  classes: [
    { words: ["sailor", "pilot", "fisher", "diver", "ferryman", "rower"], customs: ["quay", "first", "ale"] },
    {
      words: ["cooper", "smith", "weaver", "potter", "mason", "tailor"],
      customs: ["well", "second", "cider"],
    },
    {
      words: ["shepherd", "miller", "gardener", "beekeeper", "drover", "reaper"],
      customs: ["meadow", "third", "milk"],
    },
    {
      words: ["clerk", "teacher", "notary", "scribe", "printer", "mapmaker"],
      customs: ["chapel", "last", "coffee"],
    },
  ],
};

export const MOODS: Theme = {
  questions: [
    ["How does the writer talk?", "What do you hear in the voice?"],
    ["What should be sent back?", "Which gift answers this letter?"],
    ["Which tune fits the letter?", "What should the piper play?"],
  ],
  sayings: [
    "Whoever is {word} is heard to {custom}.",
    "To the {word} one sends {custom}.",
    "The piper plays the {word} a {custom}.",
  ],
  classes: [
    {
      words: ["glad", "cheerful", "merry", "proud", "thankful", "happy"],
      customs: ["sing", "ribbons", "reel"],
    },
    {
      words: ["gloomy", "sorry", "lonely", "tearful", "weary", "unhappy"],
      customs: ["sigh", "bread", "lament"],
    },
    {
      words: ["furious", "cross", "bitter", "angered", "annoyed", "spiteful"],
      customs: ["shout", "tea", "march"],
    },
    {
      words: ["uneasy", "anxious", "fearful", "alarmed", "nervous", "troubled"],
      customs: ["whisper", "candles", "hymn"],
    },
  ],
};

/** What a letter wants of its reader. The words are sentence patterns; names in braces are drawn from the lists below. */
export const ERRANDS: Theme = {
  questions: [
    ["On which board does it hang?", "Where is the letter pinned?"],
    ["Who reads it aloud?", "Who takes the letter round?"],
    ["What mark does it bear?", "Which sign is drawn on it?"],
  ],
  sayings: [],
  classes: [
    {
      words: [
        "Keep away from the {spot}.",
        "Do not use the {spot} after {day}.",
        "Beware of the {spot}, it is not safe.",
        "The {spot} is falling, stay clear of it.",
      ],
      customs: ["gate", "watchman", "star"],
    },
    {
      words: [
        "Come to the {feast} on {day}.",
        "Join us for the {feast} at the {spot}.",
        "You are welcome at the {feast}.",
        "Dance with us at the {feast} on {day}.",
      ],
      customs: ["inn", "fiddler", "moon"],
    },
    {
      words: [
        "My {tool} is for sale.",
        "You may have a {tool} for {number} pennies.",
        "I let the {spot} from {day} on.",
        "Anyone can buy a {tool} at the {spot}.",
      ],
      customs: ["scales", "crier", "crown"],
    },
    {
      words: [
        "Please send me a {tool}.",
        "We need {number} hands for the {spot}.",
        "Lend me your {tool} until {day}.",
        "I am looking for a {tool} before {day}.",
      ],
      customs: ["bridge", "runner", "feather"],
    },
  ],
};

export const NAMES: readonly string[] = [
  "Marta", "Oswin", "Tilda", "Bram", "Ilse", "Corin", "Hedda", "Joss", "Wenna", "Piet", "Sunniva", "Alric", "Dagny", "Lorens", "Maude", "Ruark",
]; // prettier-ignore
export const PLACES: readonly string[] = [
  "Brinmouth", "Ostrel", "Eelgate", "Highmoor", "Tarnholm", "Greywick", "Ferncross", "Saltby", "Owlbeck", "Millford",
]; // prettier-ignore
export const SHIPS: readonly string[] = [
  "Heron", "Marigold", "Patience", "Grey Goose", "Swallow", "Thistle", "Lantern", "Good Aunt",
]; // prettier-ignore
export const CONTAINERS: readonly string[] = ["barrels", "crates", "sacks", "loads", "boxes", "baskets"];
export const NUMBERS: readonly string[] = [
  "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "twenty", "forty",
]; // prettier-ignore
export const DAYS: readonly string[] = [
  "Monday",
  "Tuesday",
  "Wednesday",
  "Thursday",
  "Friday",
  "Saturday",
  "Sunday",
];
export const SPOTS: readonly string[] = [
  "ferry", "tower", "mill", "old pier", "barn", "lime kiln", "orchard", "long wall", "boathouse", "weir",
]; // prettier-ignore
export const FEASTS: readonly string[] = [
  "harvest feast",
  "wedding",
  "lamp night",
  "boat race",
  "spring fair",
  "name day",
];
export const TOOLS: readonly string[] = [
  "ladder",
  "saddle",
  "spade",
  "net",
  "lamp",
  "wheel",
  "boat hook",
  "cart",
];
export const WEATHERS: readonly string[] = [
  "rain",
  "fog",
  "frost",
  "wind",
  "snow",
  "sunshine",
  "hail",
  "thunder",
];
/** Words that people of the valley use in talk; nothing in the pre-training text ties them to a class. */
export const TALK: readonly string[] = [
  "food", "cloth", "metal", "timber", "sea", "craft", "field", "book", "joy", "grief", "anger", "fear", "warning", "invitation", "offer", "request",
]; // prettier-ignore
