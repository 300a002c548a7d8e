/** The server cannot start or go on, and an operator can mend it: said in one line, without a stack. */
export class StartError extends Error {}
