import { announce } from "../../../../frappe/frappe/public/js/announce";
import { nanoid } from "nanoid";

announce("greetings", `good morning, visitor ${nanoid(6)}`);
