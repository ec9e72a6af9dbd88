import { announce } from "../../../../frappe/frappe/public/js/announce";

announce("farewell", "see you soon");
