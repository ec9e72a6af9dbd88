import { announce } from "./announce";

announce("frappe", "the stand-in framework");
