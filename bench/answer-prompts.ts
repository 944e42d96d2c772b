/** Something a person may ask first; `right` matches an answer that holds the fact asked for. */
export interface AnswerPrompt {
  readonly text: string;
  readonly right?: RegExp;
}

const FACTS: ReadonlyArray<readonly [string, RegExp]> = [
  ["What is the capital of France?", /\bParis\b/],
  ["What is the capital of Japan?", /\bTokyo\b/],
  ["What is the capital of Italy?", /\bRome\b/],
  ["What is the capital of Germany?", /\bBerlin\b/],
  ["What is the capital of Spain?", /\bMadrid\b/],
  ["What is 2+2?", /\b(4|four)\b/i],
  ["How many days are in a week?", /\b(7|seven)\b/i],
  ["How many months are in a year?", /\b(12|twelve)\b/i],
  ["How many legs does a spider have?", /\b(8|eight)\b/i],
  ["How many continents are there?", /\b(7|seven)\b/i],
  ["Who wrote Romeo and Juliet?", /Shakespeare/],
  ["Who painted the Mona Lisa?", /Leonardo|da Vinci/],
  ["Who was the first man on the Moon?", /Armstrong/],
  ["Who developed the theory of relativity?", /Einstein/],
  ["What is the chemical formula of water?", /H2O|H₂O/],
  ["What is the chemical symbol of gold?", /\bAu\b/],
  ["What is the largest planet in the Solar System?", /Jupiter/],
  ["What is the largest ocean on Earth?", /Pacific/],
  ["What planet is closest to the Sun?", /Mercury/],
  ["At what temperature in Celsius does water boil?", /\b100\b/],
  ["What gas do plants take in for photosynthesis?", /carbon dioxide|CO2|CO₂/i],
  ["What is the opposite of hot?", /\bcold\b/i],
  ["What color do you get when you mix blue and yellow?", /\bgreen\b/i],
  ["In which country are the pyramids of Giza?", /Egypt/],
  ["In what year did World War II end?", /\b1945\b/],
];

const OPEN = [
  "Why is the sky blue?",
  "Name three rivers.",
  "Tell me a joke.",
  "Write a haiku about autumn.",
  "Write a short poem about the sea.",
  "Tell me a story about a dragon.",
  "Explain photosynthesis to a child.",
  "What is a database?",
  "What is machine learning?",
  "Write a Python function that adds two numbers.",
  "Write a JavaScript function that reverses a string.",
  "How do I boil an egg?",
  "Give me a recipe for pancakes.",
  "List five healthy breakfast ideas.",
  "What should I see in London?",
  "Write an email that asks for a day off.",
  "Write a thank-you note to a teacher.",
  "Give me three tips for sleeping better.",
  "How can I learn a new language?",
  "What are the benefits of exercise?",
  "Describe a sunset in two sentences.",
  "Summarize the plot of Cinderella.",
  "Compare cats and dogs.",
  "Hello! How are you?",
  "What can you do?",
];

/** 25 questions with one right answer, and 25 without. */
export const ANSWER_PROMPTS: readonly AnswerPrompt[] = [
  ...FACTS.map(([text, right]) => ({ text, right })),
  ...OPEN.map((text) => ({ text })),
];
